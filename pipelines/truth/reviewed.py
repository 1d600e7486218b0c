"""Reviewed rows as truth: their files and their labels."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from actors.ontology import Ontology
from pipelines.decisions.triage import Label
from pipelines.errors import ConfigError
from pipelines.review.importing import REVIEWED, ReviewedRow, last_answers
from pipelines.runs.directory import RunDir
from pipelines.storage.paths import RunPath, listed, run_path
from pipelines.truth.coco_file import check_is_there

#: The value of `--truth` for the reviewed rows of the run itself.
REVIEWED_TRUTH = "reviewed"


def reviewed_files(run: RunDir, truth: str | RunPath) -> list[RunPath] | None:
    """The files of reviewed rows that `truth` names; None: it is another kind of truth.

    It is the word `reviewed`, the directory of a run, its folder `reviewed`, or a Parquet file.
    Raises ConfigError if there is no such file.
    """
    path = run_path(truth)
    if str(truth) == REVIEWED_TRUTH and not path.exists():
        path = run.path
    if path.suffix.lower() == ".parquet":
        check_is_there(path)
        return [path]
    if not path.is_dir():
        return None
    folder = RunDir(path).reviewed if (path / "run.json").is_file() else path
    files = listed(folder, "*.parquet")
    if not files and listed(path, "*.json") and folder == path:
        check_is_there(path)  # names the COCO JSON in it
    if not files:
        raise ConfigError(
            f"{folder} holds no reviewed rows",
            "review some with nightjar review export and import, or give a COCO JSON",
        )
    return files


def reviewed_labels(files: Sequence[RunPath]) -> tuple[dict[int, list[Label]], int]:
    """Row id -> the true labels of an image, and the number of rejected images.

    Raises ConfigError if the files hold no reviewed images.
    """
    try:
        table = last_answers(files)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ConfigError(
            f"{files[0].parent} holds no reviewed rows: {error}",
            f"give Parquet files with the columns {', '.join(REVIEWED.names)}",
        ) from None
    rows: list[ReviewedRow] = table.select(["row_id", "verdict", "instances"]).to_pylist()
    found = {row["row_id"]: row["instances"] for row in rows if row["instances"] is not None}
    if not found:
        raise ConfigError(
            f"{files[0].parent} holds no reviewed image: {table.num_rows} rows, none with labels",
            "use reviewed rows of a run of autolabel",
        )
    return found, sum(row["verdict"] == "reject" for row in rows)


def reviewed_classes(files: Sequence[RunPath], ontology: Ontology) -> frozenset[str]:
    """Classes of `ontology` that the reviewed run had too; all, if its run.json is missing."""
    reviewed = RunDir(files[0].parent.parent)
    if not reviewed.record.is_file():
        return frozenset(ontology.classes)
    return frozenset(ontology.classes) & frozenset(ontology_of(reviewed).classes)


def ontology_of(run: RunDir) -> Ontology:
    """The ontology of a run of autolabel."""
    return Ontology.model_validate(run.read_record()["config"]["detector"]["ontology"])
