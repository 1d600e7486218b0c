"""The pocket world's language: shapes, colours, what is kept out of training, the vocabulary."""

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
#: Another word for the same thing: prompts may use either.
SYNONYMS = {"circle": "disc", "purple": "violet"}

#: Never drawn and never prompted while training, not even as an absent class. Every shape and
#: every colour is in the list, so that "unseen" measures composition, not a missing word.
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

#: Everyday nouns that no scene contains: absent classes, so that the detector learns to say no.
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
    """What an object is, or what a phrase asks for (None: any)."""

    colour: str | None
    shape: str | None

    @property
    def phrase(self) -> str:
        """The kind as a prompt, for instance ``red star``, ``star`` or ``red``."""
        return " ".join(word for word in self if word)


ALL_KINDS = tuple(Kind(colour, shape) for shape in SHAPES for colour in COLOURS)
UNSEEN_KINDS = tuple(kind for kind in ALL_KINDS if tuple(kind) in HELD_OUT)
SEEN_KINDS = tuple(kind for kind in ALL_KINDS if tuple(kind) not in HELD_OUT)


def vocabulary() -> list[str]:
    """The WordPiece vocabulary, one token per id (1,030 entries).

    Grounding DINO finds phrases by BERT's ids of four tokens, fixed in the library's code:
    [CLS] 101, [SEP] 102, "." 1012 and "?" 1029. The places between are filled with [unused] as
    BERT does. Single characters and their "##" forms make every word tokenise.
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
