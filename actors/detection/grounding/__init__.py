"""What text-prompted detectors share: prompts as tokens, views of images, choice of boxes."""
