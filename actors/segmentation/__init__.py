"""Segmentation: masks for boxes (SAM 2), boxes and masks for prompts (SAM 3)."""
