"""The fallback reader: a vision-language model reads doubtful pages again."""
