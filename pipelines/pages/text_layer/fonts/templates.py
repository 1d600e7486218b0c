"""Compares a drawn glyph with the character that the text layer claims, and with all others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.pages.text_layer.fonts.alphabets import family, is_east_asian, script, speaks
from pipelines.pages.text_layer.fonts.outlines import Floats

Numbers = npt.NDArray[np.int64]

FILE = Path(__file__).with_name("templates.npz")
#: Squared distance below which two characters count as alike in some face: O and 0, l and I.
_ALIKE = 30.0


@dataclass(frozen=True)
class Evidence:
    """One glyph. Squared distances; 1 is the variance of a character over faces, per direction."""

    char: str  #: what the layer claims
    own: float  #: to the nearest form of the claimed character or its family
    best: float  #: to the nearest form of another letter or digit that does not look alike
    rival: str  #: that other character
    #: Share (0..1) of such letters of its own script that are nearer than the claimed character.
    rank: float


class _Pool:
    """The forms of the characters that can speak against a claim, side by side."""

    def __init__(self, points: Floats, owners: Numbers) -> None:
        self._points = points
        self._norms = (points**2).sum(axis=1)
        self.characters, self._starts = np.unique(owners, return_index=True)

    def nearest(self, points: Floats) -> Floats:
        """Squared distances (n, characters) of glyphs (n, 24) to the nearest form of each."""
        squares = self._norms - 2 * (points @ self._points.T) + (points**2).sum(axis=1)[:, None]
        found: Floats = np.minimum.reduceat(squares, self._starts, axis=1)
        return found


class Templates:
    """The baked forms of about 5,900 characters (`recipe.py`)."""

    def __init__(self) -> None:
        with np.load(FILE) as stored:
            self._projection: Floats = stored["projection"].astype(np.float32)
            points: Floats = (stored["templates"] * stored["step"]).astype(np.float32)
            owners: Numbers = stored["owners"].astype(np.int64)
            self._characters = [chr(number) for number in stored["characters"]]
        self._forms: dict[str, Floats] = {}
        bounds = np.searchsorted(owners, np.arange(len(self._characters) + 1))
        for number, char in enumerate(self._characters):
            forms = points[bounds[number] : bounds[number + 1]]
            mine = self._forms.get(family(char))
            self._forms[family(char)] = forms if mine is None else np.vstack([mine, forms])
        judges = np.array([speaks(char) for char in self._characters])
        east = np.array([is_east_asian(char) for char in self._characters])
        near, all_ = (judges & ~east)[owners], judges[owners]
        self._pools = _Pool(points[near], owners[near]), _Pool(points[all_], owners[all_])
        self._families = np.array([family(char) for char in self._characters])
        self._scripts = np.array([script(char) for char in self._characters])
        self._known = frozenset(self._characters)
        self._barred: dict[str, npt.NDArray[np.bool_]] = {}

    def __contains__(self, char: str) -> bool:
        return char in self._known

    def projected(self, vector: Floats) -> Floats:
        """(24,) of the features of a glyph."""
        found: Floats = vector.astype(np.float32) @ self._projection
        return found

    def compare(self, char: str, point: Floats) -> Evidence:
        """Evidence of a projected glyph that is claimed to be `char`, a character with templates.

        0.05 ms for scripts with short alphabets, 0.2 ms for those of East Asia.
        """
        pool = self._pools[is_east_asian(char)]
        claimed = self.distance(point, char)
        allowed = ~self._bars(char, pool)
        nearest = pool.nearest(point[None])[0][allowed]
        best = int(nearest.argmin())
        rival = self._characters[pool.characters[allowed][best]]
        own_script = self._scripts[pool.characters[allowed]] == script(char)
        rank = float((nearest[own_script] < claimed).mean()) if own_script.any() else 0.0
        return Evidence(char, claimed, float(nearest[best]), rival, rank)

    def distance(self, point: Floats, char: str) -> float:
        """Squared distance of a projected glyph to the forms of a character and its family."""
        return float(((self._forms[family(char)] - point) ** 2).sum(axis=1).min())

    def _bars(self, char: str, pool: _Pool) -> npt.NDArray[np.bool_]:
        """Which characters of the pool cannot speak against `char`: its family, and look-alikes."""
        barred = self._barred.get(char)
        if barred is None:
            barred = self._families[pool.characters] == family(char)
            barred |= pool.nearest(self._forms[family(char)]).min(axis=0) < _ALIKE
            self._barred[char] = barred
        return barred


@lru_cache(maxsize=1)
def templates() -> Templates:
    """The templates, loaded once."""
    return Templates()
