"""Shapes, colours, held-out pairs and the vocabulary of the pocket scenes."""

from __future__ import annotations

import string
from typing import NamedTuple

SHAPES = (
    "star",
    "circle",
    "square",
    "triangle",
    "cross",
    "heart",
    "arrow",
    "crescent",
    "ring",
    "house",
)
#: Name -> (hue, half-width of its hue band), degrees. The bands are at least 12 degrees apart.
COLOURS = {
    "red": (0.0, 6.0),
    "orange": (28.0, 5.0),
    "yellow": (55.0, 5.0),
    "green": (125.0, 18.0),
    "blue": (220.0, 14.0),
    "purple": (285.0, 12.0),
}
#: Synonyms that prompts may use.
SYNONYMS = {"circle": "disc", "purple": "violet"}

#: Pairs that training neither draws nor prompts, not even as absent classes. The list has every
#: shape and every colour, so "unseen" measures composition, not an unknown word.
HELD_OUT = frozenset(
    {
        ("blue", "star"),
        ("orange", "circle"),
        ("purple", "square"),
        ("yellow", "triangle"),
        ("green", "cross"),
        ("red", "heart"),
        ("blue", "arrow"),
        ("orange", "crescent"),
        ("green", "ring"),
        ("yellow", "house"),
    }
)

#: Nouns that no scene contains. As absent classes they teach the detector to reject.
STRANGERS = (
    "apple",
    "bicycle",
    "bird",
    "boat",
    "book",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cup",
    "dog",
    "flower",
    "fork",
    "horse",
    "lamp",
    "person",
    "shoe",
    "table",
    "tree",
)


class Kind(NamedTuple):
    """The kind of an object or of a phrase (None: any)."""

    colour: str | None
    shape: str | None

    @property
    def phrase(self) -> str:
        """The kind as a prompt, e.g. ``red star``, ``star`` or ``red``."""
        return " ".join(word for word in self if word)


ALL_KINDS = tuple(Kind(colour, shape) for shape in SHAPES for colour in COLOURS)
UNSEEN_KINDS = tuple(kind for kind in ALL_KINDS if tuple(kind) in HELD_OUT)
SEEN_KINDS = tuple(kind for kind in ALL_KINDS if tuple(kind) not in HELD_OUT)


def vocabulary() -> list[str]:
    """The WordPiece vocabulary, one token per id (1,030 entries).

    Grounding DINO separates phrases by BERT's ids of four tokens, which are fixed in the library's
    code: [CLS] 101, [SEP] 102, "." 1012 and "?" 1029. Other ids are [unused], as in BERT. Single
    characters and their "##" forms allow every word to be tokenised.
    """
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    fixed |= {1012: ".", 1029: "?"}
    characters = list(string.ascii_lowercase + string.digits)
    marks = [mark for mark in string.punctuation if mark not in ".?"]
    words = [*SHAPES, *COLOURS, *SYNONYMS.values()]
    pieces = [*marks, *characters, *("##" + c for c in characters), *words]
    tokens = []
    for number in range(1030):
        tokens.append(fixed.get(number, f"[unused{number}]"))
    for number, piece in enumerate(pieces, 104):
        tokens[number] = piece
    return tokens
