"""Config files: YAML -> pydantic models. Every fault is named by its key, in the file's words."""

from .reading import read_yaml, validated
from .words import in_words

__all__ = ["in_words", "read_yaml", "validated"]
