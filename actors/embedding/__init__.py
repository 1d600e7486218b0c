"""Embeddings: one vector an image, from a timm backbone or from image statistics."""
