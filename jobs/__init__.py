"""The command `nightjar`: parse, run, exit code."""
