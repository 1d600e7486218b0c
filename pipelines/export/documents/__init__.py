"""Documents as text, Markdown, JSON lines, hOCR or ALTO; one file for each source document."""
