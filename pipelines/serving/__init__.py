"""`nightjar serve vlm`: an OpenAI-compatible endpoint on Ray Serve."""
