"""The command lines of `nightjar curate` and `nightjar app`; as light as `jobs.cli`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from jobs.console.terminal import Terminal

_BUILD = "RUN"


class _RunOrPull(TyperGroup):
    """`curate RUN ...` beside `curate pull NAME`: any other first argument is a run directory.

    Write `./pull` for a run directory called `pull`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in ("pull", *ctx.help_option_names):
            args = [_BUILD, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Hide the inserted subcommand, so that a usage line does not show it."""
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == _BUILD else name, command, rest


app = typer.Typer(
    cls=_RunOrPull,
    no_args_is_help=True,
    subcommand_metavar="RUN [OPTIONS] | pull NAME [OPTIONS]",
    help="Open a run in FiftyOne; pull corrections back.",
)


@app.command(_BUILD)
def build(
    run_dir: Annotated[str, typer.Argument(metavar="RUN", help="the run_dir of a run")],
    name: Annotated[
        str | None, typer.Option(help="name of the dataset; default: that of the run directory")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OUTCOME", help="only rows of this outcome, for example review; repeatable"
        ),
    ] = None,
    media: Annotated[
        Literal["local", "download"],
        typer.Option(
            help="local: use local pictures where they are, fetch all others into RUN/media; "
            "download: fetch all"
        ),
    ] = "local",
    brain: Annotated[
        bool, typer.Option("--brain", help="compute uniqueness and near duplicates from embeddings")
    ] = False,
    near: Annotated[
        float,
        typer.Option(min=0, max=2, help="with --brain: largest cosine distance of near duplicates"),
    ] = 0.01,
) -> None:
    """Build a FiftyOne dataset from a run, or update it. No row is added twice."""
    from jobs.commands import curate

    curate.build(Terminal(), run_dir, name, only or [], media, near if brain else None)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="name of the dataset")],
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="only samples of this run; or the new path of a moved run"
        ),
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(metavar="NAME", help="reviewer to record; default: $USER")
    ] = None,
) -> None:
    """Write the changes made in the app to RUN/reviewed: labels, texts, tags accept and reject."""
    from jobs.commands import curate

    curate.pull(Terminal(), name, run, reviewer)


def open_app(
    name: Annotated[str, typer.Argument(help="name of a dataset that nightjar curate made")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="port of the app")] = 5151,
) -> None:
    """Serve the FiftyOne app for a dataset on this machine until Ctrl-C."""
    from jobs.commands import curate

    curate.open_app(Terminal(), name, port)
