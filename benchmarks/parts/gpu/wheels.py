"""Fetch the packages that the GPU machine lacks, as wheels that travel with the repository.

    python benchmarks/parts/gpu/wheels.py        # writes build/gpu-wheels/, prints its size

The versions are those of `requirements.lock`. Everything else that the actors import is on the
machine: torch, torchvision, pyarrow, NumPy, OpenCV, Pillow, tokenizers, safetensors, rich. Ray's
wheel alone is larger than what may travel.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: Missing there, with what they need; transformers is there in a version below Nightjar's lowest.
PACKAGES = (
    "annotated-types",
    "pycocotools",
    "pydantic",
    "pydantic-core",
    "transformers",
    "typing-inspection",
)
#: The machine's Python, and the C libraries that its wheels may ask for.
PYTHON = "3.12"
PLATFORMS = tuple(f"manylinux_2_{n}_x86_64" for n in (28, 27, 17, 12, 5))
#: Bytes that may travel: the repository's files and these wheels.
MOST = 64 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build/gpu-wheels")
    out = parser.parse_args().out
    wanted = pins((ROOT / "requirements.lock").read_text())
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(command(out, wanted), check=True)
    wheels, files = sum(one.stat().st_size for one in out.glob("*.whl")), travelling()
    print(
        f"{out}: {wheels / 2**20:.1f} MiB; with the repository {(wheels + files) / 2**20:.1f} MiB"
    )
    if wheels + files > MOST:
        raise SystemExit(f"too large: {MOST / 2**20:.0f} MiB may travel")


def pins(lock: str) -> list[str]:
    """NAME==VERSION of every package of `PACKAGES`. Raises SystemExit if the lock lacks one."""
    lines = (line.split(";")[0].strip() for line in lock.splitlines())
    known = {line.split("==")[0]: line for line in lines if "==" in line}
    missing = [name for name in PACKAGES if name not in known]
    if missing:
        raise SystemExit(f"requirements.lock has no {', '.join(missing)}")
    return [known[name] for name in PACKAGES]


def command(out: Path, wanted: list[str]) -> list[str]:
    """pip, asked for wheels of the machine's Python."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    target = ["--python-version", PYTHON, "--implementation", "cp", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    return [*pip, "--only-binary=:all:", *target, "-d", str(out), *wanted]


def travelling() -> int:
    """Bytes of the files that git tracks or would add."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = {ROOT / name for name in names.split("\0") if name}
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    main()
