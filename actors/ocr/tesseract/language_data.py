"""Language data of Tesseract: where they are, what is there, and how to install what is missing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from actors.failures import SetupError
from actors.ocr.scripts.classes import VIETNAMESE, Alphabet

#: Scripts of pages that can have languages of their own; "vietnamese": Latin with its marks.
ScriptName = Literal[
    "latin",
    "vietnamese",
    "han",
    "cyrillic",
    "greek",
    "arabic",
    "hebrew",
    "devanagari",
    "thai",
    "hangul",
    "other",
]

#: Variable with the folder of the language data; Tesseract's own.
FOLDER_VARIABLE = "TESSDATA_PREFIX"
#: Debian 12 and later, Ubuntu 22.04 and later; older ones.
_DEBIAN = ("/usr/share/tesseract-ocr/5/tessdata", "/usr/share/tesseract-ocr/4.00/tessdata")
_END = ".traineddata"

#: Scripts (ISO 15924) of languages. All other languages are in Latin letters.
_SCRIPTS = {
    "Cyrl": ("aze_cyrl", "bel", "bul", "kaz", "kir", "mkd", "mon", "rus", "srp", "tgk", "ukr"),
    "Grek": ("ell", "grc"),
    "Arab": ("ara", "fas", "kmr", "pus", "snd", "uig", "urd"),
    "Hebr": ("heb", "yid"),
    "Deva": ("hin", "mar", "nep", "san"),
    "Thai": ("tha",),
    "Hang": ("kor", "kor_vert"),
    "Hani": ("chi_sim", "chi_sim_vert", "chi_tra", "chi_tra_vert", "jpn", "jpn_vert"),
    "Beng": ("asm", "ben"),
    "Guru": ("pan",),
    "Gujr": ("guj",),
    "Orya": ("ori",),
    "Taml": ("tam",),
    "Telu": ("tel",),
    "Knda": ("kan",),
    "Mlym": ("mal",),
    "Sinh": ("sin",),
    "Laoo": ("lao",),
    "Mymr": ("mya",),
    "Khmr": ("khm",),
    "Geor": ("kat", "kat_old"),
    "Armn": ("hye",),
    "Ethi": ("amh", "tir"),
}
_SCRIPT_OF = {language: script for script, names in _SCRIPTS.items() for language in names}


def data_folder(chosen: Path | None) -> Path:
    """The folder of the language data: `chosen`, that of FOLDER_VARIABLE, or Debian's.

    Raises SetupError if there is none.
    """
    named = [chosen] if chosen else [Path(one) for one in [os.environ.get(FOLDER_VARIABLE)] if one]
    places = named or [Path(one) for one in _DEBIAN]
    found = next((one for one in places if one.is_dir()), None)
    if found is None:
        raise SetupError(
            f"no language data of Tesseract in {', '.join(map(str, places))}",
            "apt-get install tesseract-ocr-eng, or set tesseract.tessdata to the folder of the "
            ".traineddata files",
        )
    return found


def installed(folder: Path) -> list[str]:
    """Languages in `folder`. `osd`, which finds orientations, is no language."""
    names = (str(one.relative_to(folder)) for one in folder.rglob(f"*{_END}"))
    return sorted(name.removesuffix(_END) for name in names if name != f"osd{_END}")


def data_files(folder: Path, languages: Iterable[str]) -> dict[str, Path]:
    """The file of each language. Raises SetupError that names Debian's packages of all missing."""
    files = {name: folder / f"{name}{_END}" for name in languages}
    missing = [name for name, path in files.items() if not path.is_file()]
    if missing:
        there = ", ".join(installed(folder)) or "none"
        raise SetupError(
            f"Tesseract has no data for {', '.join(missing)} in {folder} (there: {there})",
            f"apt-get install {' '.join(map(debian_package, missing))} on the workers' machines, "
            "or set tesseract.tessdata",
        )
    return files


def debian_package(language: str) -> str:
    """Debian's package of a language, e.g. tesseract-ocr-chi-sim for chi_sim."""
    return f"tesseract-ocr-{language.replace('/', '-').replace('_', '-').lower()}"


def alphabet(languages: Collection[str]) -> Alphabet:
    """What Tesseract can read in `languages`.

    Data of languages in other scripts than Latin hold no Latin letters, but those of Chinese and
    Japanese do (`combine_tessdata -e LANGUAGE.traineddata LANGUAGE.lstm-unicharset`).
    """
    found = {_SCRIPT_OF.get(language, "Latn") for language in languages}
    if "Hani" in found:
        found.add("Latn")
    if "vie" in languages:
        found.add(VIETNAMESE)
    return Alphabet(frozenset(found))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
