"""One module for each command of `nightjar`, without parsing."""
