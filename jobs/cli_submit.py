"""The command lines of `nightjar submit`, `status`, `logs` and `stop`; as light as `jobs.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.console.terminal import Terminal

Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="the cluster's dashboard, http://HOST:8265; default: RAY_API_SERVER_ADDRESS, then "
        "RAY_ADDRESS",
    ),
]
Target = Annotated[str, typer.Argument(help="a submission id, or the run_dir of the config")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="print the run's output until it ends")
]
ConfigFile = Annotated[Path, typer.Argument(help="a YAML file, see configs/")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="override a key; repeatable")
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="send this environment variable; the job's metadata shows its value; repeatable",
    ),
]
Again = Annotated[bool, typer.Option("--again", help="continue a run whose job has ended")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="show what would be sent, and send nothing")
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="send this file or folder too; a file that looks like a secret is only sent if it "
        "is named here itself; repeatable",
    ),
]
MaxMb = Annotated[float, typer.Option(min=0, help="largest size of the package, in MB")]
RetryFailed = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND", help="as of run, usually with --again; repeatable"),
]


def submit(
    config: ConfigFile,
    address: Address = None,
    overrides: Overrides = None,
    env: Env = None,
    follow: Follow = False,
    again: Again = False,
    dry_run: DryRun = False,
    include: Include = None,
    max_mb: MaxMb = 64.0,
    retry_failed: RetryFailed = None,
) -> None:
    """Start a run on a Ray cluster. Sends what git tracks of this folder, the config, its files.

    A run directory is started only once, however often it is submitted. Exit codes: as for run.
    """
    from jobs.commands import submit as job

    asked = job.Asked(
        address,
        overrides or (),
        env or (),
        follow,
        again,
        dry_run,
        max_mb,
        include or (),
        retry_failed or (),
    )
    job.submit(Terminal(), config, asked)


def status(
    target: Annotated[
        str | None, typer.Argument(help="a submission id or run_dir; default: all jobs")
    ] = None,
    address: Address = None,
) -> None:
    """Show the state of a submitted run. Exit code: 0 running or finished, else the run's."""
    from jobs.commands import submit as job

    job.status(Terminal(), target, address)


def logs(target: Target, address: Address = None, follow: Follow = False) -> None:
    """Print the output of a submitted run. With --follow, exit with the run's exit code."""
    from jobs.commands import submit as job

    job.logs(Terminal(), target, address, follow=follow)


def stop(target: Target, address: Address = None) -> None:
    """Stop a submitted run. Committed rows are kept."""
    from jobs.commands import submit as job

    job.stop(Terminal(), target, address)
