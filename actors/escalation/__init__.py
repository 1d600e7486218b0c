"""The second reading: what a vision-language model is asked about a doubtful page."""
