"""Pocket checkpoints: a small MM-Grounding-DINO and a small SAM 2, trained on rendered scenes.

Real architectures of the transformers library, toy weights: they know ten shapes in six colours
and say nothing about the quality of real checkpoints. See README.md for the recipe.
"""
