"""Elements of screenshots: their boxes, texts and captions."""
