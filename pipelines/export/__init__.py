"""`nightjar export`: labels/ for training tools, documents/ for archives, pdf/ for searchable PDFs."""
