"""What a run reads: list it, look into it, freeze a manifest with one row per page or image."""
