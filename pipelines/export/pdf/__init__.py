"""Searchable PDFs: the pages as they are, with an invisible text layer."""
