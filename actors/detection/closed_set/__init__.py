"""Detectors with a fixed list of classes: loading, letterbox, forward, masks (ultralytics)."""
