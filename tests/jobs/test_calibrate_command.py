"""`nightjar calibrate` on pages and labels: its output, its files, its refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import Ended, in_this_process
from hand_made_runs import IMAGES, label, stored, write_run
from labelled_runs import labelled_run
from PIL import Image
from rich.console import Console

from jobs.commands.calibrate import Asked, command
from pipelines.decisions.error_model import load_calibration
from pipelines.decisions.routing import RoutingConfig
from pipelines.errors import ConfigError

Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of 40 pages and their truth."""
    folder = tmp_path_factory.mktemp("finished")
    labelled_run(folder, 40)
    (folder / "truth" / "nobody.csv").write_text("1,2,3,2,3,4,1,4,x\n")
    return folder


def said(folder: Path, **options: object) -> str:
    """What the command prints, called in this process."""
    console = Console(record=True, width=160, force_terminal=False)
    asked = {"truth": folder / "truth", "repeats": 1} | options
    command(console, folder / "run", Asked(**asked))  # type: ignore[arg-type]
    return console.export_text()


@pytest.fixture(scope="module")
def done(finished: Path) -> Ended:
    """What the real command said about it; it wrote into the run."""
    options = ("--target-cer", "0.025", "--language", "en", "--seed", "3")
    return in_this_process(finished, "calibrate", "run", "--truth", "truth", *options)


def test_a_run_and_its_truth_become_a_calibration(done: Ended, finished: Path) -> None:
    assert done.code == 0, done.err
    for part in (
        "40 of 41 truths match a page with text",
        "1 match no page of the run: truth/nobody.csv",
        "CER: without blanks, because the blanks of some truth are not reliable",
        "promised with a confidence of 90 %: at most 2.5 % CER without blanks",
        "expected: ",
        "calibrated, floor 0.",
        "... with the other review rules",
        "page mean, same number of pages",
        "as routed in this run",
        "by share of escalated pages",
        "written: run/calibration/rapid_ocr.json",
    ):
        assert part in done.out
    folder = finished / "run" / "calibration"
    made = load_calibration(folder / "rapid_ocr.json")
    assert (made.engine, made.language, made.pages) == ("rapid_ocr", "en", 40)
    assert (made.target_cer, made.confidence, made.counts_blanks) == (0.025, 0.9, False)
    assert Image.open(folder / "rapid_ocr.png").size == (1500, 675)
    assert sorted(path.name for path in folder.iterdir()) == ["rapid_ocr.json", "rapid_ocr.png"]
    snippet = yaml.safe_load(done.out.split("In the config of the next run:")[1])
    accept = snippet["routing"]["accept"]
    assert accept == {
        "target_cer": 0.025,
        "calibration": "run/calibration/rapid_ocr.json",
    }
    accept["calibration"] = str(finished / accept["calibration"])
    assert RoutingConfig.model_validate(snippet["routing"]).accept is not None


def test_a_terminal_gets_a_bar_and_the_same_seed_the_same_calibration(
    finished: Path, tmp_path: Path
) -> None:
    console = Console(record=True, width=160, force_terminal=True)
    for name in ("one", "other.json"):
        asked = Asked(finished / "truth", 0.015, None, tmp_path / name, seed=3, repeats=1)
        command(console, finished / "run", asked)
    shown = console.export_text()
    assert "cross-validation, folds" in shown
    assert "10/10" in shown
    files = (tmp_path / "one.json", tmp_path / "other.json")
    one, other = (json.loads(path.read_text()) | {"created": ""} for path in files)
    assert one == other


def test_a_target_out_of_reach_gives_nothing_to_write(finished: Path, tmp_path: Path) -> None:
    text = " ".join(said(finished, out=tmp_path / "c.json", target_cer=0.0).split())
    assert "40 files cannot promise a CER of 0 % with a confidence of 90 %: the lowest is" in text
    assert "a larger sample does not promise 0 % either" in text
    assert "Nothing for a config" in text
    made = load_calibration(tmp_path / "c.json")
    assert made.floor is None
    accept = {"target_cer": 0.0001, "calibration": str(tmp_path / "c.json")}
    with pytest.raises(ValueError, match=r"c.json promises no CER of 0.01 %: the lowest is .* %"):
        RoutingConfig.model_validate({"accept": accept})
    accept["target_cer"] = made.promises[-1].promised_cer
    assert RoutingConfig.model_validate({"accept": accept}).accept is not None


def test_blanks_count_if_the_truth_has_them_or_if_asked(finished: Path, tmp_path: Path) -> None:
    for part in ("run", "truth"):
        shutil.copytree(finished / part, tmp_path / part)
    (tmp_path / "truth" / "truth.yaml").write_text("blanks: true\n")
    out = tmp_path / "c.json"
    assert "CER: with blanks\n" in said(tmp_path, out=out, target_cer=0.03)
    assert load_calibration(out).counts_blanks
    assert "CER: without blanks\n" in said(tmp_path, out=out, cer="without-blanks")
    assert not load_calibration(out).counts_blanks
    with pytest.raises(ConfigError, match="40 with a truth whose blanks are not reliable"):
        said(finished, cer="with-blanks")


def test_two_engines_get_a_file_each(finished: Path, tmp_path: Path) -> None:
    for part in ("run", "truth"):
        shutil.copytree(finished / part, tmp_path / part)
    path = sorted((tmp_path / "run" / "shards").iterdir())[0]
    rows = pq.read_table(path)
    other = pa.array(["surya 0.22"] * rows.num_rows)
    place = rows.schema.get_field_index("lines_source")
    pq.write_table(rows.set_column(place, "lines_source", other), path)
    text = said(tmp_path, target_cer=0.03)
    names = {one.name for one in (tmp_path / "run" / "calibration").iterdir()}
    assert names == {f"{n}.{e}" for n in ("rapid_ocr", "surya") for e in ("json", "png")}
    assert "calibration: [" in text
    with pytest.raises(ConfigError, match="readings of 2 engines: rapid_ocr, surya"):
        said(tmp_path, out=tmp_path / "x.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truth": Path("gone")}, "no truth at gone"),
        ({"target_precision": 0.9}, "pages have no precision"),
    ],
)
def test_errors_come_with_a_remedy(
    finished: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        said(finished, **options)
    assert caught.value.remedy


def test_labels_get_thresholds_and_yaml(nightjar: Command, tmp_path: Path) -> None:
    boxes = [(10 + 30 * n, 10, 30 + 30 * n, 30) for n in range(4)]
    rows, truth = (
        [],
        {"images": [], "annotations": [], "categories": [{"id": 1, "name": "red star"}]},
    )
    for number in range(12):
        scores = (0.9, 0.8, 0.6 - 0.01 * number, 0.3)
        labels = [
            label("red star", box, score=score, reasons=[] if score >= 0.5 else ["below_threshold"])
            for box, score in zip(boxes, scores, strict=True)
        ]
        path = Path(f"/images/{number}.jpg")
        rows.append(stored(number, path, outcome="accepted", instances=labels))
        truth["images"].append({"id": number + 1, "file_name": path.name})
        truth["annotations"] += [
            {
                "id": 2 * number + n,
                "image_id": number + 1,
                "category_id": 1,
                "bbox": [x0, y0, 20, 20],
            }
            for n, (x0, y0, _, _) in enumerate(boxes[:2])
        ]
    write_run(tmp_path / "run", "autolabel", IMAGES, rows)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    done = nightjar("calibrate", "run", "--truth", "truth.json", "--out", "thresholds.yaml")
    assert done.code == 0, done.err
    assert "0.5 -> 0.7" in done.out
    assert "0.686 -> 1.000 (0.86 .. 1.00)" in done.out, "precision: 24 of 35, then of 24"
    assert "keep their threshold: blue star, green house" in " ".join(done.out.split())
    ontology = yaml.safe_load((tmp_path / "thresholds.yaml").read_text())["detector"]["ontology"]
    assert ontology == {"classes": {"red star": {"threshold": 0.7}}}
    with pytest.raises(ConfigError, match="is an autolabel run and has no text"):
        command(Console(), tmp_path / "run", Asked(tmp_path / "truth.json", target_cer=0.01))
