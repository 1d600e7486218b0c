"""`nightjar export`: labels for training tools, documents for archives, searchable PDFs."""
