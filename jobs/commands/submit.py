"""`nightjar submit`, `status`, `logs` and `stop`: runs on an existing Ray cluster."""

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
from jobs.console.fitted import FittedTable
from jobs.console.live import duration, say
from jobs.console.terminal import Terminal, one_line
from pipelines.config import JobConfig
from pipelines.config_files import read_yaml
from pipelines.errors import ClusterUnreachable, ConfigError
from pipelines.job import load_job
from pipelines.runs.retrying import failure_kinds
from pipelines.secrets import secret_keys
from pipelines.storage.objects import is_bucket

if TYPE_CHECKING:  # both import Ray (2 s), which a wrong config should not wait for
    from ray.job_submission import JobDetails

    from jobs.cluster.ray_jobs import Head

_DEFAULT = "http://127.0.0.1:8265"
#: Seconds that `stop` waits for the end. Ray kills a job that does not end within 3 s.
_STOP_S = 60.0
_NAMES = 5  #: of files that are not sent


@dataclass(frozen=True)
class Asked:
    """Options of `nightjar submit`."""

    address: str | None
    overrides: Sequence[str]
    env: Sequence[str]
    follow: bool
    again: bool
    dry_run: bool
    max_mb: float
    include: Sequence[str] = ()
    retry: Sequence[str] = ()


def submit(console: Console, path: Path, asked: Asked) -> None:
    """`nightjar submit`. Exits with the run's exit code if it is known."""
    job, config = load_job(path, asked.overrides)
    run_dir = _run_dir_on_a_cluster(config)
    env = _chosen(asked.env)
    raw = read_yaml(path, asked.overrides)
    raw["ray"] = {**(raw.get("ray") or {}), "address": "auto"}
    include = _checked(path, raw, asked.include)
    packed = package(Path.cwd(), f"{path.stem}.yaml", raw, asked.max_mb, include)
    failure_kinds(asked.retry)  # a wrong one is reported here, not by the job
    retry = [word for kind in asked.retry for word in ("--retry-failed", kind)]
    entrypoint = shlex.join(["python", "-m", "jobs.cli", "run", packed.config, *retry])
    _print_package(console, packed)
    for name in env:
        say(console, f"{name}: everybody with access to the dashboard can read its value in the")
        say(
            console,
            "  job's metadata; set secrets in the environment of the cluster's nodes instead",
        )
    if asked.dry_run:
        _print_dry(console, packed, entrypoint, run_dir, _address(asked.address))
        return
    metadata = {"nightjar_job": job.name, "nightjar_config": path.name, "nightjar_run_dir": run_dir}
    _send(console, asked, packed, entrypoint, env, metadata)


def _checked(path: Path, raw: Mapping[str, Any], include: Sequence[str]) -> list[str]:
    """`include` without the config itself. Raises ConfigError if the config holds a secret."""
    others = [one for one in include if Path(one).absolute() != path.absolute()]
    keys = secret_keys(raw)
    if keys and len(others) == len(include):
        raise ConfigError(
            f"{path} holds what looks like secrets, and nothing was sent: {', '.join(keys)}",
            "name an environment variable of the nodes instead (api_key_env, passwords_env); to "
            f"send it all the same: --include {path}",
        )
    return others


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
            there = head.find(name)  # another submit was faster, or only the answer was lost
            if there is None:
                raise
            _known(console, head, there, follow=asked.follow)
    say(console, f"submitted as {name}", bold=True)
    if asked.follow:
        _follow(console, head, name)
    say(console, f"nightjar logs {name} --follow; nightjar status {name}; nightjar stop {name}")


def _run_dir_on_a_cluster(config: JobConfig) -> str:
    run_dir = config.run_dir
    if not is_bucket(run_dir) and not PurePosixPath(run_dir).is_absolute():
        raise ConfigError(
            f"run_dir {run_dir} is relative: on a cluster it would be in Ray's copy of the "
            "working directory, which Ray deletes",
            "use --set run_dir=s3://BUCKET/RUN (or gs://, az://), or an absolute path that every "
            "node mounts",
        )
    return run_dir


def _chosen(names: Sequence[str]) -> dict[str, str]:
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError(
            f"--env {missing[0]}: no such environment variable", f"export {missing[0]} first"
        )
    return {name: os.environ[name] for name in names}


def _address(asked: str | None) -> str:
    """URL of the job server: --address, else Ray's variables, else this machine."""
    named = asked or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    address = named or _DEFAULT
    if "://" not in address:
        address = f"http://{address}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"--address {address} is no address of a job server",
            "give the address of the dashboard, such as http://HOST:8265",
        )
    if parts.username or parts.password:
        raise ConfigError(
            "--address contains a password",
            "set RAY_AUTH_TOKEN to the token, and RAY_AUTH_MODE=token",
        )
    return address.rstrip("/")


def _print_package(console: Console, packed: Package) -> None:
    sizes = packed.sizes
    largest = next(iter(sizes), None)
    note = f", largest: {largest} ({megabytes(sizes[largest])})" if largest else ""
    say(console, f"package: {len(sizes):,} files, {megabytes(sum(sizes.values()))}{note}")
    if packed.left_out:
        say(console, f"not sent, named like secrets: {_first(packed.left_out)}")
    if packed.untracked:
        say(console, f"not sent, git does not track them: {_first(packed.untracked)}")
        say(console, "  git add sends them, or --include PATH")


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
    return ", ".join(map(one_line, names[:_NAMES])) + more


def _print_dry(
    console: Console, packed: Package, entrypoint: str, run_dir: str, address: str
) -> None:
    from jobs.cluster.ray_jobs import submission_id

    for name, size in packed.sizes.items():
        say(console, f"  {one_line(name)} ({megabytes(size)})")
    for what, value in {
        "submission id": submission_id(run_dir),
        "to": address,
        "entrypoint": entrypoint,
        "run_dir": run_dir,
        packed.config: "\n" + packed.masked_config.rstrip(),
    }.items():
        say(console, f"{what}: {value}")
    say(console, "Nothing was sent.", bold=True)


def _warn_of_nodes(console: Console, head: Head, run_dir: str) -> None:
    nodes = head.nodes()
    if nodes > 1 and not is_bucket(run_dir):
        say(console, f"{run_dir} must be shared by all {nodes} nodes; the run checks this")


def _known(console: Console, head: Head, job: JobDetails, *, follow: bool) -> NoReturn:
    """Report the existing job of this run directory and exit with its exit code."""
    from jobs.cluster.ray_jobs import exit_code, outcome

    name = str(job.submission_id)
    code = exit_code(job)
    say(console, f"{name} {outcome(job)}; nothing was submitted")
    if code is None:
        if follow:
            _follow(console, head, name)
        say(console, f"nightjar logs {name} --follow; nightjar stop {name}")
        sys.exit(0)
    say(console, f"nightjar logs {name} shows its output; submit --again continues the run")
    sys.exit(code)


def _follow(console: Console, head: Head, name: str) -> NoReturn:
    """Print the job's output until it ends, then exit with its exit code."""
    from jobs.cluster.follow import follow
    from jobs.cluster.ray_jobs import exit_code, outcome

    def write(text: str) -> None:
        console.file.write(text)
        console.file.flush()

    notes = Terminal(stderr=True)
    try:
        ended = follow(head, name, write, lambda text: say(notes, text))
    except KeyboardInterrupt:
        say(notes, f"Stopped following. The job goes on; to stop it: nightjar stop {name}")
        sys.exit(130)
    say(console, f"{name} {outcome(ended)}")
    sys.exit(exit_code(ended))


def status(console: Console, target: str | None, address: str | None) -> None:
    """`nightjar status`: one job, or all. Exits with the exit code of a failed job."""
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

    table = FittedTable("submission id", "status", "exit code", "minutes")
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
    """`nightjar stop`: stop a job and wait for its end."""
    from jobs.cluster.ray_jobs import Head, outcome

    head = Head(_address(address))
    job = head.resolve(target)
    name = str(job.submission_id)
    if job.status.is_terminal():
        say(console, f"{name} {outcome(job)}; nothing to stop")
        return
    head.stop(name)
    deadline = time.monotonic() + _STOP_S
    while not (job := head.resolve(name)).status.is_terminal():
        if time.monotonic() > deadline:
            raise ClusterUnreachable(
                f"{name} has not stopped within {_STOP_S:.0f} s",
                "check the node that runs it; committed rows are kept in any case",
            )
        time.sleep(0.5)
    say(
        console, f"{name} {outcome(job)}; committed rows are kept, submit --again continues the run"
    )
