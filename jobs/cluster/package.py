"""The files of a working directory that a submitted job needs, as a zip file.

| files | sent |
|---|---|
| code, configs | if git tracks them, or there is no git |
| data (weights, pictures, documents, tables) | if the config names the file or a folder above it |
| hidden files, files that git does not track | likewise |
| outputs (runs, environments, caches) | if the config names the file itself |
| anything else below the folder | if `--include` names the file or a folder above it |
| what looks like a secret | if `--include` names the file itself; see `package` |
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from jobs.cluster.git_files import tracked_files, untracked_files
from jobs.cluster.suspects import suspicion_of, suspicious_name
from pipelines.errors import ConfigError
from pipelines.secrets import masked

#: The head keeps packages in memory, and every node unpacks a copy.
MAX_MB = 64.0
_MAX_FILES = 20_000
_LARGEST = 5
_SUSPECTS = 20  #: named in a message

_OUTPUTS = frozenset(
    {"runs", "venv", "env", "node_modules", "__pycache__", "build", "dist", "wandb", "mlruns"}
)
_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".onnx", ".bin", ".engine", ".gguf", ".h5")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".mp4")
_TABLES = (".npy", ".npz", ".pkl", ".parquet", ".arrow", ".sqlite", ".db", ".csv", ".jsonl", ".log")
_BUNDLES = (".pdf", ".djvu", ".zip", ".tar", ".gz", ".tgz", ".zst", ".whl", ".mov", ".avi")
_DATA = frozenset((*_WEIGHTS, *_PICTURES, *_TABLES, *_BUNDLES))
_GLOB = "*?["


@dataclass(frozen=True)
class Package:
    """A package.

    Attributes:
        files: name in the zip -> local file.
        config: name of the config in the zip.
        left_out: files named like secrets that are not sent.
        untracked: code and configs that are not sent because git does not track them.
    """

    files: Mapping[str, Path]
    config: str
    config_text: str
    left_out: Sequence[str] = ()
    untracked: Sequence[str] = ()

    @property
    def masked_config(self) -> str:
        """The config without secrets."""
        text: str = yaml.safe_dump(masked(yaml.safe_load(self.config_text)), sort_keys=False)
        return text

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


def package(
    root: Path,
    config: str,
    raw: Mapping[str, Any],
    max_mb: float = MAX_MB,
    include: Sequence[str] = (),
) -> Package:
    """The files below `root` that a job needs.

    A file that is only named like a secret is left out, unless git tracks it or the config names
    it. Any other file that looks like a secret stops the submission.

    Args:
        root: working directory.
        config: name of the config file.
        raw: the config.
        max_mb: largest total size, uncompressed, in 10^6 bytes.
        include: files and folders to send as well.

    Raises ConfigError if a file looks like a secret, or if there are too many files or they are too
    large; it names the files.
    """
    named, asked = list(_named(root, raw)), [_asked(root, one) for one in include]
    tracked = tracked_files(root)
    chosen = _chosen(root, tracked, named, asked)
    files, left_out = _without_secrets(chosen, asked, {*named, *(tracked or ())})
    untracked = [
        name
        for name in untracked_files(root)
        if name not in files and _wanted(PurePosixPath(name), (), ())
    ]
    text = yaml.safe_dump(dict(raw), sort_keys=False)
    made = Package(files, f".nightjar/{config}", text, left_out, untracked)
    _check_size(root, made, max_mb)
    return made


def _without_secrets(
    chosen: Iterable[tuple[str, Path]], asked: Sequence[str], known: Container[str]
) -> tuple[dict[str, Path], list[str]]:
    """(files to send, names of files that are left out). Raises ConfigError, see `package`.

    Args:
        chosen: name and path of each file.
        asked: names that `--include` gives.
        known: names of files that git tracks or the config names.
    """
    files: dict[str, Path] = {}
    left_out: list[str] = []
    suspects: dict[str, str] = {}
    for name, path in chosen:
        below = PurePosixPath(name)
        if name in asked:
            files[name] = path
        elif suspicious_name(below) and name not in known:
            left_out.append(name)
        elif reason := suspicion_of(below, path):
            suspects[name] = reason
        else:
            files[name] = path
    _check_suspects(suspects)
    return files, left_out


def _chosen(
    root: Path, tracked: Iterable[str] | None, named: Sequence[str], asked: Sequence[str]
) -> Iterator[tuple[str, Path]]:
    """(name below `root`, path) of the files that are sent unless they look like secrets."""
    paths = {*_below(root)} if tracked is None else {root / name for name in tracked}
    paths |= {path for one in (*named, *asked) for path in _below(root / one)}
    for path in sorted(paths):
        name = path.relative_to(root).as_posix()
        if _wanted(PurePosixPath(name), named, asked) and path.is_file():
            yield name, path


def _check_suspects(suspects: Mapping[str, str]) -> None:
    if suspects:
        lines = [f"  {name}: {reason}" for name, reason in suspects.items()]
        more = len(lines) - _SUSPECTS
        lines[_SUSPECTS:] = [f"  and {more:,} more"] if more > 0 else []
        raise ConfigError(
            "these files look like secrets, and nothing was sent:\n" + "\n".join(lines),
            "take them out of git and of the config, or move them elsewhere; to send one all the "
            f"same, name it: --include {next(iter(suspects))}",
        )


def _check_size(root: Path, made: Package, max_mb: float) -> None:
    sizes = made.sizes
    if sum(sizes.values()) > max_mb * 1e6:
        largest = ", ".join(f"{file} ({megabytes(sizes[file])})" for file in list(sizes)[:_LARGEST])
        raise ConfigError(
            f"the package of {root} has {megabytes(sum(sizes.values()))} in {len(sizes):,} files, "
            f"more than --max-mb {max_mb:g}; largest files: {largest}",
            "move data to a place that the cluster can read (a bucket, or a path that every node "
            "mounts) and name that place in the config; or take the files out of git; or raise "
            "--max-mb",
        )


def megabytes(size: float) -> str:
    """`1.2 MB`."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


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


def _asked(root: Path, name: str) -> str:
    """The path of --include below `root`, in POSIX form. Raises ConfigError."""
    path = Path(os.path.normpath(root / name))
    if not path.exists() or not path.is_relative_to(root):
        raise ConfigError(
            f"--include {name}: no such file or folder below {root}",
            "name a file of the current folder",
        )
    return path.relative_to(root).as_posix()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a prompt can be too long for a file name
        return False


def _wanted(name: PurePosixPath, named: Sequence[str], asked: Sequence[str]) -> bool:
    if str(name) in named or str(name) in asked:
        return True
    if any(_is_output(part) for part in name.parts[:-1]):
        return False
    if any(one == "." or name.is_relative_to(one) for one in (*named, *asked)):
        return True
    hidden = any(part.startswith(".") for part in name.parts)
    return not (hidden or _is_output(name.name) or name.suffix.lower() in _DATA)


def _is_output(part: str) -> bool:
    return (
        part in _OUTPUTS
        or part == ".git"
        or part.startswith(".venv")
        or part.endswith(("_cache", ".egg-info"))
    )
