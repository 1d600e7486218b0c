"""Pages and lines with known texts, rendered for measurements and tests."""
