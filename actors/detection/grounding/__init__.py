"""Grounding DINO: loading, tokens of prompts, attention, forward."""
