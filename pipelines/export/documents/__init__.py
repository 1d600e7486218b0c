"""Documents as text, Markdown, JSON lines, hOCR or ALTO: one file per source document."""
