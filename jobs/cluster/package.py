"""What of a working directory a submitted job needs, as a zip file.

Code and configs go along. Data (weights, pictures, documents, tables) goes only if the config names
it or a folder above it; hidden files, outputs, what git ignores and what looks like a key never do.
"""

from __future__ import annotations

import io
import subprocess
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipelines.errors import ConfigError

#: Ray keeps packages in the memory of the head, and every node unpacks its own copy.
MAX_MB = 64.0
_MAX_FILES = 20_000
_LARGEST = 5

_OUTPUTS = frozenset(
    {"runs", "venv", "env", "node_modules", "__pycache__", "build", "dist", "wandb", "mlruns"}
)
_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".onnx", ".bin", ".engine", ".gguf", ".h5")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".mp4")
_TABLES = (".npy", ".npz", ".pkl", ".parquet", ".arrow", ".sqlite", ".db", ".csv", ".jsonl", ".log")
_BUNDLES = (".pdf", ".djvu", ".zip", ".tar", ".gz", ".tgz", ".zst", ".whl", ".mov", ".avi")
_DATA = frozenset((*_WEIGHTS, *_PICTURES, *_TABLES, *_BUNDLES))
_KEYS = ("*.pem", "*.key", "*.p12", "id_rsa*", "id_ed25519*", "credentials*", "*secret*", ".env*")
_GLOB = "*?["


@dataclass(frozen=True)
class Package:
    """`files`: name in the zip -> file here. `config`: the name of the config in the zip."""

    files: Mapping[str, Path]
    config: str
    config_text: str

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by name, the largest first."""
        sizes = {name: path.stat().st_size for name, path in self.files.items()}
        return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))

    def zipped(self) -> bytes:
        """The same bytes for the same files, so that Ray uploads them once."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(self.config), self.config_text)
            for name, path in sorted(self.files.items()):
                info = zipfile.ZipInfo(name)  # of 1980: a file that was touched is no other file
                info.external_attr = (path.stat().st_mode & 0o777) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, path.read_bytes())
        return out.getvalue()


def package(root: Path, name: str, raw: Mapping[str, Any], max_mb: float = MAX_MB) -> Package:
    """The files of `root` that a job with the config `raw` (called `name`) needs.

    Raises ConfigError, naming the largest files, where they are too many or too large.
    """
    named = list(_named(root, raw))
    candidates = {*_listed(root), *(path for name in named for path in _below(root / name))}
    files = {
        path.relative_to(root).as_posix(): path
        for path in sorted(candidates)
        if _wanted(PurePosixPath(path.relative_to(root).as_posix()), named) and path.is_file()
    }
    made = Package(files, f".nightjar/{name}", yaml.safe_dump(dict(raw), sort_keys=False))
    sizes = made.sizes
    if sum(sizes.values()) > max_mb * 1e6:
        largest = ", ".join(f"{file} ({megabytes(sizes[file])})" for file in list(sizes)[:_LARGEST])
        raise ConfigError(
            f"the package of {root} has {megabytes(sum(sizes.values()))} in {len(sizes):,} files, "
            f"more than --max-mb {max_mb:g}; the largest: {largest}",
            "put data where the cluster can read it (s3://, or a path that every node mounts) and "
            "name it there in the config; or keep it from git's list of files; or raise --max-mb",
        )
    return made


def megabytes(size: float) -> str:
    """`1.2 MB`."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def _listed(root: Path) -> Iterator[Path]:
    """Files that git tracks or would; without git all that no folder of outputs holds."""
    argv = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=60)
        listed = done.stdout.decode(errors="surrogateescape") if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired):
        listed = None
    if listed is None:
        yield from _below(root)
    else:
        yield from (root / name for name in listed.split("\0") if name)


def _below(path: Path) -> Iterator[Path]:
    """Regular files below `path`, or itself. Raises ConfigError where they have no end."""
    if path.is_file():
        yield path
        return
    folders, seen = [path], 0
    while folders:
        for entry in folders.pop().iterdir():
            if entry.is_dir() and not entry.is_symlink():
                if not _is_output(entry.name):
                    folders.append(entry)
                continue
            seen += 1
            if seen > _MAX_FILES:
                raise ConfigError(
                    f"{path} holds more than {_MAX_FILES:,} files",
                    "start nightjar submit in a folder with code and configs only, and name data "
                    "by a path that the cluster can read",
                )
            yield entry


def _named(root: Path, value: Any) -> Iterator[str]:
    """Paths below `root` that stand anywhere in a config, in POSIX form; "." is all of it."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _named(root, one)
    elif isinstance(value, str) and value and "://" not in value and "\0" not in value:
        plain = value
        if any(sign in value for sign in _GLOB):
            parts = PurePosixPath(value).parts
            stop = next(i for i, part in enumerate(parts) if any(sign in part for sign in _GLOB))
            plain = str(PurePosixPath(*parts[:stop]))
        path = PurePosixPath(plain)
        if not path.is_absolute() and ".." not in path.parts and _exists(root / path):
            yield path.as_posix()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a prompt is no file name: too long
        return False


def _wanted(name: PurePosixPath, named: Iterable[str]) -> bool:
    if any(name.match(pattern) for pattern in _KEYS):
        return False
    if any(one == "." or name.is_relative_to(one) for one in named):
        return not any(_is_output(part) for part in name.parts[:-1])
    hidden = any(part.startswith(".") for part in name.parts)
    outputs = any(_is_output(part) for part in name.parts)
    return not (hidden or outputs or name.suffix.lower() in _DATA)


def _is_output(part: str) -> bool:
    return (
        part in _OUTPUTS
        or part == ".git"
        or part.startswith(".venv")
        or part.endswith(("_cache", ".egg-info"))
    )
