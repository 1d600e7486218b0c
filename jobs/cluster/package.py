"""The files of a working directory that a submitted job needs, as a zip file.

| files | sent |
|---|---|
| code, configs | always |
| data (weights, pictures, documents, tables) | if the config names the file or a folder above it |
| hidden files, files that git ignores | likewise |
| outputs (runs, environments, caches), keys, credentials | never |
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

#: The head keeps packages in memory, and every node unpacks a copy.
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
    """A package. `files`: name in the zip -> local file. `config`: name of the config in it."""

    files: Mapping[str, Path]
    config: str
    config_text: str

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file, largest first."""
        sizes = {name: path.stat().st_size for name, path in self.files.items()}
        return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))

    def zipped(self) -> bytes:
        """The zip. The same files give the same bytes, so that Ray uploads them only once."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(self.config), self.config_text)
            for name, path in sorted(self.files.items()):
                info = zipfile.ZipInfo(name)  # dated 1980: `touch` must not change the zip
                info.external_attr = (path.stat().st_mode & 0o777) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, path.read_bytes())
        return out.getvalue()


def package(root: Path, name: str, raw: Mapping[str, Any], max_mb: float = MAX_MB) -> Package:
    """The files below `root` that a job needs.

    Args:
        root: working directory.
        name: of the config file.
        raw: the config.
        max_mb: largest total size, uncompressed, in 10^6 bytes.

    Raises ConfigError if there are too many files or they are too large; it names the largest.
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
            f"more than --max-mb {max_mb:g}; largest files: {largest}",
            "move data to a place that the cluster can read (s3://, or a path that every node "
            "mounts) and name that place in the config; or add the files to .gitignore; or raise "
            "--max-mb",
        )
    return made


def megabytes(size: float) -> str:
    """`1.2 MB`."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def _listed(root: Path) -> Iterator[Path]:
    """Files that git tracks or does not ignore; without git all files outside output folders."""
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
    """Files below `path`, or `path` itself. Raises ConfigError above 20,000 files."""
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
                    "call nightjar submit in a folder that holds only code and configs; name data "
                    "by a path that the cluster can read",
                )
            yield entry


def _named(root: Path, value: Any) -> Iterator[str]:
    """All strings of a config that are paths below `root`, in POSIX form; "." means all of it."""
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
    except OSError:  # a prompt can be too long for a file name
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
