"""A run on somebody else's cluster: pack the folder, submit it, follow it."""
