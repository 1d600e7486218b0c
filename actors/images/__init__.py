"""Pixels: decoding, tiles and views, letterbox, batches, masks as run lengths."""
