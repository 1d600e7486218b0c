"""The OCR engine of each script: pages are read once, and some again by the engine of their script.

first("rapid_ocr", RapidOcr)          + rapid_ocr.ocr_lines, rapid_ocr.script ...
choose_by_script                      + reader, page_languages
only("tesseract", TesseractByScript)  + tesseract.ocr_lines ...: null for other rows
join_readings                         + ocr_lines ...: those of `reader`, never of both
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import Field

from actors.contract import Settings
from actors.ocr.tesseract.language_data import ScriptName
from actors.ocr.tesseract.reader import PAGE_LANGUAGES, TesseractConfig
from actors.own_rows import READER, prefixed
from pipelines.flow import step

OcrReader = Literal["rapid_ocr", "paddle_ocr", "surya", "tesseract"]

#: The reader of all pages, whose reading says which script a page has.
FIRST: OcrReader = "rapid_ocr"
_SCRIPT = pa.field(prefixed(FIRST, "script"), pa.string())
_UNREAD_LETTERS = pa.field(prefixed(FIRST, "unread_letters"), pa.float32())
#: Share of a page's width with Latin letters that rapid_ocr lacks, from which it is Vietnamese; as
#: `Floors.max_unread_letters`.
_MARKED = 0.05
_NAMES: dict[str, ScriptName] = {
    **dict.fromkeys(("Latn",), "latin"),
    **dict.fromkeys(("Hani", "Hans", "Hant", "Jpan", "Hira", "Kana"), "han"),
    **{"Cyrl": "cyrillic", "Grek": "greek", "Arab": "arabic", "Hebr": "hebrew"},
    **{"Deva": "devanagari", "Thai": "thai", "Hang": "hangul", "Kore": "hangul"},
}
#: Tesseract's languages of each script without `tesseract.languages`. Data of other scripts hold no
#: Latin letters, so `eng` is there for names, addresses and URLs.
USUAL_LANGUAGES: dict[ScriptName, tuple[str, ...]] = {
    "latin": ("eng",),
    "vietnamese": ("vie",),
    "han": ("chi_sim",),
    "cyrillic": ("rus", "eng"),
    "greek": ("ell", "eng"),
    "arabic": ("ara", "eng"),
    "hebrew": ("heb", "eng"),
    "devanagari": ("hin", "eng"),
    "thai": ("tha", "eng"),
    "hangul": ("kor", "eng"),
}

_AGAIN = "{}; null: the reading of rapid_ocr stands, and is not accepted"


class ByScript(Settings):
    """The reader of each script. rapid_ocr reads every page first and finds its script."""

    latin: OcrReader = Field("rapid_ocr", description="of Latin pages")
    han: OcrReader = Field("rapid_ocr", description="of Chinese and Japanese pages")
    vietnamese: OcrReader | None = Field(
        None,
        description=_AGAIN.format("of Latin pages with letters that rapid_ocr lacks: Vietnamese"),
    )
    cyrillic: OcrReader | None = Field(None, description=_AGAIN.format("of Cyrillic pages"))
    greek: OcrReader | None = Field(None, description=_AGAIN.format("of Greek pages"))
    arabic: OcrReader | None = Field(None, description=_AGAIN.format("of Arabic pages"))
    hebrew: OcrReader | None = Field(None, description=_AGAIN.format("of Hebrew pages"))
    devanagari: OcrReader | None = Field(
        None, description=_AGAIN.format("of pages in Devanagari, e.g. Hindi")
    )
    thai: OcrReader | None = Field(None, description=_AGAIN.format("of Thai pages"))
    hangul: OcrReader | None = Field(None, description=_AGAIN.format("of Korean pages"))
    other: OcrReader | None = Field(
        None, description=_AGAIN.format("of pages in any other known script")
    )

    def of(self, script: ScriptName | None) -> OcrReader:
        """The engine whose reading counts; FIRST without a script."""
        named: OcrReader | None = getattr(self, script) if script else None
        return named or FIRST

    @property
    def readers(self) -> tuple[OcrReader, ...]:
        """The engines that are named, each once; FIRST is always one."""
        named = [self.of(one) for one in USUAL_LANGUAGES] + [self.of("other")]
        return tuple(dict.fromkeys([FIRST, *named]))

    def read_by(self, engine: OcrReader) -> list[ScriptName]:
        """The scripts of an engine."""
        names: list[ScriptName] = [*USUAL_LANGUAGES, "other"]
        return [one for one in names if self.of(one) == engine]


def script_name(code: str | None, unread_letters: float | None = None) -> ScriptName | None:
    """The key of ByScript for a page; None: its script is unknown.

    Args:
        code: ISO 15924 code.
        unread_letters: see `actors.lines.READING`.
    """
    if code is None:
        return None
    name = _NAMES.get(code, "other")
    marked = name == "latin" and (unread_letters or 0) > _MARKED
    return "vietnamese" if marked else name


def usual_languages(script: str) -> tuple[str, ...]:
    """Tesseract's languages of a script, a key of USUAL_LANGUAGES, unless others are configured."""
    return next(names for one, names in USUAL_LANGUAGES.items() if one == script)


def with_languages(config: TesseractConfig, readers: ByScript) -> TesseractConfig:
    """`config` with the languages of each script that Tesseract reads.

    Raises ValueError for a script without known languages.
    """
    named = config.languages or {}
    if not isinstance(named, dict):
        return config
    known = USUAL_LANGUAGES | named
    scripts = readers.read_by("tesseract")
    if unknown := [one for one in scripts if one not in known]:
        raise ValueError(
            f"reader.{unknown[0]} is tesseract: set tesseract.languages.{unknown[0]}, e.g. [kat]"
        )
    return config.model_copy(update={"languages": {one: known[one] for one in scripts}})


class Choice(Settings):
    """Settings of `choose_by_script`.

    Attributes:
        languages: value of `page_languages` for each script; other pages get null.
    """

    readers: ByScript
    languages: dict[ScriptName, str]


@step(reads=pa.schema([_SCRIPT, _UNREAD_LETTERS]), writes=pa.schema([READER, PAGE_LANGUAGES]))
def choose_by_script(rows: pa.Table, choice: Choice) -> pa.Table:
    """Name the reader of every page by its script, and Tesseract's languages for it."""
    seen = zip(rows[_SCRIPT.name].to_pylist(), rows[_UNREAD_LETTERS.name].to_pylist(), strict=True)
    scripts = [script_name(code, letters) for code, letters in seen]
    readers = [choice.readers.of(script) for script in scripts]
    languages = [choice.languages.get(script) if script else None for script in scripts]
    rows = rows.append_column(READER, pa.array(readers, READER.type))
    return rows.append_column(PAGE_LANGUAGES, pa.array(languages, PAGE_LANGUAGES.type))
