"""Local copies of objects in a bucket that must be local files, mainly models.

Each machine keeps one copy in NIGHTJAR_CACHE or ~/.cache/nightjar. Its name is a hash of the
objects' names, etags and sizes. A new version gets a new copy, so a copy in use never changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.contract import Settings
from actors.failures import ItemFailure, SetupError
from pipelines.storage.bucket import Bucket, connected
from pipelines.storage.objects import SCHEMES, Entry, Here, StorageSettings

_MOST_BYTES = 1 << 40
_OBJECT = re.compile(f"({'|'.join(one.removesuffix('://') for one in SCHEMES)}):/+")


def cache_folder(kind: str) -> Path:
    """The cache folder for one kind of file on this machine."""
    home = os.environ.get("NIGHTJAR_CACHE")
    return (Path(home) if home else Path.home() / ".cache" / "nightjar") / kind


def localized(settings: Settings, storage: StorageSettings | None = None) -> Here:
    """`settings` with every URI of an object replaced by a local copy. Raises SetupError."""
    places: dict[str, str] = {}

    def local(value: Any) -> Any:
        uri = _object(str(value)) if isinstance(value, str | Path) else ""
        if uri:
            copy = local_copy(uri, storage or StorageSettings())
            places[str(copy)] = uri
            return type(value)(copy)
        if isinstance(value, Settings):
            changed = {
                name: new
                for name in type(value).model_fields
                if (new := local(old := getattr(value, name))) is not old
            }
            return value.model_copy(update=changed) if changed else value
        return value

    return Here(local(settings), places)


def _object(text: str) -> str:
    """The URI of an object that `text` is; "" for other texts. Path turns "s3://" into "s3:/"."""
    found = _OBJECT.match(text)
    return f"{found[1]}://{text[found.end() :]}" if found else ""


def local_copy(uri: str, storage: StorageSettings) -> Path:
    """A local copy of an object, or of a folder with all its objects. Raises SetupError."""
    store = connected(uri, storage)
    try:
        entries = _listed(store, uri.rstrip("/"))
        if not entries:
            raise SetupError(
                f"no object at {uri}", "give the URI of a file or of a folder with files"
            )
        key = "\n".join([str(storage.endpoint_url), uri.rstrip("/"), *map(str, entries)])
        digest = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
        place = cache_folder("copies") / digest
        with _alone(place):
            if not place.is_dir():
                _fetch(store, uri.rstrip("/"), entries, place)
    except ItemFailure as fault:
        raise SetupError(
            f"cannot download {uri}: {fault.message}", "check bucket, endpoint and credentials"
        ) from fault
    except OSError as error:
        raise SetupError(
            f"cannot write a local copy of {uri}: {error}",
            "free space there, or set NIGHTJAR_CACHE to another folder",
        ) from error
    name = uri.rstrip("/").rpartition("/")[2]
    return place / name


def _listed(store: Bucket, uri: str) -> list[Entry]:
    below = [entry for entry in store.list(f"{uri}/") if not entry.uri.endswith("/")]
    return below or [entry for entry in store.list(uri) if entry.uri == uri]


def _fetch(store: Bucket, uri: str, entries: list[Entry], place: Path) -> None:
    """Download the listed versions to `place`/NAME, which appears as a whole."""
    unfinished = place.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    root = unfinished / uri.rpartition("/")[2]
    for entry in entries:
        below = entry.uri.removeprefix(uri).lstrip("/")
        path = root / below if below else root
        if not path.resolve().is_relative_to(unfinished.resolve()):
            raise SetupError(f"{entry.uri} has a name that leaves its folder", "rename it")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            if entry.bytes:
                store.download(entry.uri, file, max_bytes=_MOST_BYTES, etag=entry.etag)
        if path.stat().st_size != entry.bytes:
            raise OSError(f"{path} has {path.stat().st_size} bytes, {entry.uri} has {entry.bytes}")
    unfinished.replace(place)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """A lock among the processes of this machine; the others wait for the copy."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
