"""Decoding, turning, tiles and views, letterbox, batches, and masks as run lengths."""
