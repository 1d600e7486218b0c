"""Pocket checkpoints: a small MM-Grounding-DINO and a small SAM 2, trained on rendered scenes.

They have the architectures of the transformers library, but know only ten shapes in six colours.
They say nothing about the accuracy of real checkpoints. See README.md for the training.
"""
