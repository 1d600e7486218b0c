"""Surfaces: classifies images as scene, document or screenshot."""
