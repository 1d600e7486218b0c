"""Searchable PDFs: unchanged pages with an invisible text layer."""
