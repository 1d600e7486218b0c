"""The classes of the script classifier, and what a reader can read of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: No letters: digits, prices, dates, rules.
NONE = "Zyyy"
#: Latin with letters outside Latin-1 and Latin Extended-A: Vietnamese. Its script is Latn.
VIETNAMESE = "Viet"
#: Classes of the network, in the order of its outputs: ISO 15924 codes and VIETNAMESE. `Hani` is
#: Chinese and Japanese.
CLASSES = (
    *(NONE, "Latn", VIETNAMESE, "Cyrl", "Grek", "Arab", "Hebr", "Deva", "Thai", "Hang", "Hani"),
    *("Beng", "Guru", "Gujr", "Orya", "Taml", "Telu", "Knda", "Mlym", "Sinh", "Laoo", "Mymr"),
    *("Khmr", "Geor", "Armn", "Ethi"),
)

#: Letters of which a reader has most if it can read the script.
_TYPICAL = {
    "Latn": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    VIETNAMESE: "ếạảấầẩậắặẹểễệịọốổộớờợụủứừữự",
    "Cyrl": "абвгдежзийклмнопрстуфхцчшщыьэюя",
    "Grek": "αβγδεζηθικλμνξοπρςστυφχψωάέήίόύώ",
    "Arab": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "Hebr": "אבגדהוזחטיכלמנסעפצקרשת",
    "Deva": "कखगघचजटठडणतथदधनपफबभमयरलवशषसह\u093e\u093f\u0940\u0941\u0947\u094d",
    "Thai": "กขคงจชดตถทนบปผพฟมยรลวสหอ\u0e31\u0e34\u0e35\u0e37\u0e48\u0e49",
    "Hang": "가나다라마바사아자하이은는을를에의고도서",
    "Hani": "一二三人中国大日本年月的有是在上",
    "Taml": "கஙசஞடணதநபமயரலவழளறன\u0bbe\u0bbf\u0bc1\u0bcd",
    "Telu": "కఖగఘచజటడణతదధనపబభమయరలవశషసహ\u0c3e\u0c3f\u0c41\u0c4d",
}
#: Greek without its accents is in PP-OCRv6's alphabet as symbols, so almost all letters count.
_MOST = 0.9


@dataclass(frozen=True)
class Alphabet:
    """What a reader can read.

    Attributes:
        classes: readable classes of CLASSES; NONE is always readable.
    """

    classes: frozenset[str]

    @classmethod
    def of_characters(cls, characters: Iterable[str]) -> Alphabet:
        """The scripts whose typical letters are among a recogniser's characters."""
        known = set(characters)
        return cls(
            frozenset(
                name
                for name, letters in _TYPICAL.items()
                if sum(letter in known for letter in letters) >= _MOST * len(letters)
            )
        )

    def reads(self, name: str) -> bool:
        """Whether lines of a class can be read."""
        return name == NONE or name in self.classes
