"""The benchmarks of readers show all rates beside each other, for every contestant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import ocr
import ocr_engines
import ocr_peers
from parts.text_errors import counted, legend, rates, truths_of

from pipelines.measures.character_errors import TextLine

GLUED = ["Fare 2.40No. 17", "paid"]


def boxed_truth(folder: Path) -> Path:
    folder.mkdir()
    rows = ["0,0,170,0,170,20,0,20,Fare 2.40 No. 17", "0,40,40,40,40,60,0,60,paid"]
    (folder / "a.csv").write_text("\n".join(rows))
    return folder


def test_rates_by_hand(tmp_path: Path) -> None:
    truths = truths_of(boxed_truth(tmp_path / "boxed"))
    read = [TextLine(text) for text in GLUED]
    found = rates(counted({"a.jpg": read, "b.jpg": read}, truths | {"b": truths["a"]}).values())
    assert found == {"cer_with_blanks": 1 / 20, "cer_without_blanks": 0, "wer": 2 / 5}
    assert "unreliable blanks" in legend(truths)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.txt").write_text("paid\nFare 2.40 No. 17\n")
    ordered = truths_of(tmp_path / "plain")
    found = rates(counted({"a.jpg": read}, ordered).values())
    assert found["wrong_successors"] == 1
    assert found["ned"] > 0.4
    assert "unreliable" not in legend(ordered)


def test_the_copies_of_a_page_count_as_pages(tmp_path: Path) -> None:
    truths = truths_of(boxed_truth(tmp_path / "boxed"))
    lines: list[Any] = [[GLUED[0], 0, 0, 170, 20], [GLUED[1], 0, 40, 40, 60]]
    both = ocr.errors_of({"0-a.jpg": lines, "1-a.jpg": lines[:1]}, truths)
    assert both == {"cer_with_blanks": 6 / 40, "cer_without_blanks": 4 / 34, "wer": 5 / 10} | {
        "cer_without_blanks": round(4 / 34, 5)
    }
    assert ocr.errors_of({"0-a.jpg": lines}, {}) == {}


def test_every_table_has_the_same_columns(tmp_path: Path) -> None:
    found = {"cer_with_blanks": 0.05, "cer_without_blanks": 0.0, "wer": 0.4}
    speed = {"spread": [1.0, 1.2], "reading_spread": [1.0, 1.2], "reading": 1.1, "all_in": 1.0}
    row = speed | {
        "rates": found,
        "rates_ours_there": found | {"wer": 0.3},
        "sure": None,
        "pages_per_s": 1.1,
        "cpu_s_per_page": 0.9,
        "ours_is": 1.0,
        "reading_ours_is": 1.0,
        "all_in_ours_is": 1.0,
        "ahead_from": None,
        "peak_mb": 900,
    }
    head: dict[str, Any] = {"date": "2026-11-30", "machine": "Test, 2 cores", "pages": "1"}
    head |= {"repeats": 1, "left_out": {}, "raw": {}}
    truths = truths_of(boxed_truth(tmp_path / "boxed"))
    ocr._write(head | {"contestants": {"ours": row}}, truths, tmp_path)
    (written,) = (path.read_text() for path in tmp_path.glob("ocr-*.md"))
    engines = "\n".join(ocr_engines._lines(head | {"engines": {"ours": row}}))
    peers = "\n".join(ocr_peers._lines(head | {"contestants": {"ours": row}}))
    assert "| CER with blanks | CER without | WER |" in written
    assert "| CER with blanks | CER without | WER |" in engines
    for table in (written, engines):
        assert "| 5.00 % | 0.00 % | 40.00 % |" in table
    assert "| 5.00 % (5.00 %) | 0.00 % (0.00 %) | 40.00 % (30.00 %) |" in peers
    assert "a run of white space as one blank" in written
