"""What segmenters share: checkpoints, packed decoding, masks as run lengths."""
