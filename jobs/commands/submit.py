"""`nightjar submit`, `status`, `logs` and `stop`: runs on a cluster that somebody else started."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from rich.console import Console

from jobs.cluster.package import Package, megabytes, package
from jobs.console.live import duration, figures_table, say
from pipelines.config import JobConfig
from pipelines.config_files import read_yaml
from pipelines.errors import ClusterUnreachable, ConfigError
from pipelines.job import load_job
from pipelines.storage.objects import is_s3

if TYPE_CHECKING:  # they import Ray: 2 s that a config with a fault does not pay
    from ray.job_submission import JobDetails

    from jobs.cluster.ray_jobs import Head

_DEFAULT = "http://127.0.0.1:8265"
#: Seconds that `stop` waits for the end; Ray kills what does not end within 3.
_STOP_S = 60.0


@dataclass(frozen=True)
class Asked:
    """What `nightjar submit` was asked for, beside the config."""

    address: str | None
    overrides: Sequence[str]
    env: Sequence[str]
    follow: bool
    again: bool
    dry_run: bool
    max_mb: float


def submit(console: Console, path: Path, asked: Asked) -> None:
    """`nightjar submit`. Leaves with the run's own exit code where it knows it."""
    job, config = load_job(path, asked.overrides)
    run_dir = _run_dir_on_a_cluster(config)
    env = _chosen(asked.env)
    raw = read_yaml(path, asked.overrides)
    raw["ray"] = {**(raw.get("ray") or {}), "address": "auto"}
    packed = package(Path.cwd(), f"{path.stem}.yaml", raw, asked.max_mb)
    entrypoint = shlex.join(["python", "-m", "jobs.cli", "run", packed.config])
    _print_package(console, packed)
    for name in env:
        say(console, f"{name}: its value goes into the job's metadata, where anybody who reaches")
        say(console, "  the dashboard can read it; a secret is better owned by the cluster's nodes")
    if asked.dry_run:
        _print_dry(console, packed, entrypoint, run_dir, _address(asked.address))
        return
    metadata = {"nightjar_job": job.name, "nightjar_config": path.name, "nightjar_run_dir": run_dir}
    _send(console, asked, packed, entrypoint, env, metadata)


def _send(
    console: Console,
    asked: Asked,
    packed: Package,
    entrypoint: str,
    env: Mapping[str, str],
    metadata: Mapping[str, str],
) -> None:
    from jobs.cluster.ray_jobs import Head, submission_id

    head, run_dir = Head(_address(asked.address)), metadata["nightjar_run_dir"]
    tries = head.tries(submission_id(run_dir))
    if tries and not (asked.again and tries[-1].status.is_terminal()):
        _known(console, head, tries[-1], follow=asked.follow)
    name = submission_id(run_dir) + (f"-{len(tries) + 1}" if tries else "")
    head.check_version()
    _warn_of_nodes(console, head, run_dir)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "package.zip"
        archive.write_bytes(packed.zipped())
        try:
            head.submit(name, entrypoint, archive, env, metadata)
        except ClusterUnreachable:
            there = head.find(name)  # somebody else was first, or only the answer was lost
            if there is None:
                raise
            _known(console, head, there, follow=asked.follow)
    console.print(f"submitted as [bold]{name}[/]", highlight=False)
    if asked.follow:
        _follow(console, head, name)
    say(console, f"nightjar logs {name} --follow; nightjar status {name}; nightjar stop {name}")


def _run_dir_on_a_cluster(config: JobConfig) -> str:
    run_dir = config.run_dir
    if not is_s3(run_dir) and not PurePosixPath(run_dir).is_absolute():
        raise ConfigError(
            f"run_dir {run_dir} is relative: on a cluster it would lie in Ray's copy of the "
            "working directory, which Ray deletes",
            "--set run_dir=s3://BUCKET/RUN, or an absolute path that every node mounts",
        )
    return run_dir


def _chosen(names: Sequence[str]) -> dict[str, str]:
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError(f"--env {missing[0]}: no such variable here", "export it first")
    return {name: os.environ[name] for name in names}


def _address(asked: str | None) -> str:
    """The job server's: as asked, else of Ray's own variables, else of this machine."""
    named = asked or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    address = named or _DEFAULT
    if "://" not in address:
        address = f"http://{address}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"--address {address}: not the address of a job server",
            "give the dashboard's, such as http://HOST:8265",
        )
    if parts.username or parts.password:
        raise ConfigError(
            "--address holds a password",
            "give the token in RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token",
        )
    return address.rstrip("/")


def _print_package(console: Console, packed: Package) -> None:
    sizes = packed.sizes
    largest = next(iter(sizes), None)
    note = f", the largest {largest} ({megabytes(sizes[largest])})" if largest else ""
    say(console, f"package: {len(sizes):,} files, {megabytes(sum(sizes.values()))}{note}")


def _print_dry(
    console: Console, packed: Package, entrypoint: str, run_dir: str, address: str
) -> None:
    from jobs.cluster.ray_jobs import submission_id

    for name, size in packed.sizes.items():
        say(console, f"  {name} ({megabytes(size)})")
    for what, value in {
        "submission id": submission_id(run_dir),
        "to": address,
        "entrypoint": entrypoint,
        "run_dir": run_dir,
        packed.config: "\n" + packed.config_text.rstrip(),
    }.items():
        say(console, f"{what}: {value}")
    console.print("[bold]Nothing was sent.[/]")


def _warn_of_nodes(console: Console, head: Head, run_dir: str) -> None:
    nodes = head.nodes()
    if nodes > 1 and not is_s3(run_dir):
        say(console, f"{run_dir} must be one directory for all {nodes} nodes; the run checks it")


def _known(console: Console, head: Head, job: JobDetails, *, follow: bool) -> NoReturn:
    """A job of this run directory is there already: say so, and do not come back."""
    from jobs.cluster.ray_jobs import exit_code, outcome

    name = str(job.submission_id)
    code = exit_code(job)
    say(console, f"{name} {outcome(job)}; nothing was submitted")
    if code is None:
        if follow:
            _follow(console, head, name)
        say(console, f"nightjar logs {name} --follow; nightjar stop {name}")
        sys.exit(0)
    say(console, f"nightjar logs {name} shows its output; submit --again goes on with its run")
    sys.exit(code)


def _follow(console: Console, head: Head, name: str) -> NoReturn:
    """Print the job's output to its end and leave with its exit code."""
    from jobs.cluster.follow import follow
    from jobs.cluster.ray_jobs import exit_code, outcome

    def write(text: str) -> None:
        console.file.write(text)
        console.file.flush()

    notes = Console(stderr=True, highlight=False)
    try:
        ended = follow(head, name, write, lambda text: say(notes, text))
    except KeyboardInterrupt:
        say(notes, f"Not followed any longer; the job goes on: nightjar stop {name} ends it")
        sys.exit(130)
    say(console, f"{name} {outcome(ended)}")
    sys.exit(exit_code(ended))


def status(console: Console, target: str | None, address: str | None) -> None:
    """`nightjar status`: one job, or all. Leaves with the exit code of a job that has failed."""
    from jobs.cluster.ray_jobs import Head, exit_code, outcome

    head = Head(_address(address))
    if target is None:
        _print_all(console, head.jobs())
        return
    job = head.resolve(target)
    say(console, f"{job.submission_id} {outcome(job)}", bold=True)
    metadata = job.metadata or {}
    if "nightjar_run_dir" in metadata:
        say(console, f"run_dir {metadata['nightjar_run_dir']}")
    if job.start_time:
        seconds = (job.end_time or time.time() * 1000) / 1000 - job.start_time / 1000
        say(console, duration(seconds))
    last = head.logs(str(job.submission_id)).strip().splitlines()[-1:]
    if last:
        say(console, f"last line: {last[0]}")
    sys.exit(exit_code(job) or 0)


def _print_all(console: Console, jobs: Sequence[Any]) -> None:
    from jobs.cluster.ray_jobs import exit_code

    table = figures_table("submission id", "status", "exit code", "minutes")
    for job in jobs:
        code = exit_code(job)
        start = (job.start_time or 0) / 1000
        minutes = ((job.end_time or time.time() * 1000) / 1000 - start) / 60 if start else 0.0
        table.add_row(
            job.submission_id, str(job.status), "" if code is None else str(code), f"{minutes:.1f}"
        )
    console.print(table)


def logs(console: Console, target: str, address: str | None, *, follow: bool) -> None:
    """`nightjar logs`."""
    from jobs.cluster.ray_jobs import Head

    head = Head(_address(address))
    name = str(head.resolve(target).submission_id)
    if follow:
        _follow(console, head, name)
    console.file.write(head.logs(name))


def stop(console: Console, target: str, address: str | None) -> None:
    """`nightjar stop`: end a job and wait until it has ended."""
    from jobs.cluster.ray_jobs import Head, outcome

    head = Head(_address(address))
    job = head.resolve(target)
    name = str(job.submission_id)
    if job.status.is_terminal():
        say(console, f"{name} {outcome(job)} already")
        return
    head.stop(name)
    deadline = time.monotonic() + _STOP_S
    while not (job := head.resolve(name)).status.is_terminal():
        if time.monotonic() > deadline:
            raise ClusterUnreachable(
                f"{name} was told to stop {_STOP_S:.0f} s ago and has not",
                "look at its node; what is committed is kept whatever becomes of it",
            )
        time.sleep(0.5)
    say(console, f"{name} {outcome(job)}; what is committed is kept, submit --again goes on")
