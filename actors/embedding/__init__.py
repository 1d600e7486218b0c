"""Embeddings: one vector per image, from a timm backbone or from image statistics."""
