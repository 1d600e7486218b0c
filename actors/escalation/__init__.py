"""Asking a vision-language model over HTTP, and not believing what it says."""
