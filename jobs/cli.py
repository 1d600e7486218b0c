"""The command `nightjar`. Heavy imports wait until a command needs them: `--help` is instant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from jobs import cli_curate, cli_pocket, cli_results, cli_submit
from jobs.cli_submit import ConfigFile, Overrides
from jobs.console import signals
from jobs.console.terminal import Terminal, marked

app = typer.Typer(
    name="nightjar",
    help="Label everything by morning: boxes, masks and text for large sets of images and pages.",
    epilog="Exit codes: 0 done, 2 config, 3 source, 4 weights or device, 5 run directory in "
    "conflict or busy, 6 output not writable, 7 cluster, 8 run failed, 9 no such run, 10 too many "
    "failures, 130 stopped by a signal.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(no_args_is_help=True, help="Check a config, or print the schema of all.")
serve_app = typer.Typer(no_args_is_help=True, help="Host endpoints that runs can use.")

RetryFailed = Annotated[
    list[str] | None,
    typer.Option(
        "--retry-failed",
        metavar="KIND",
        help="process rows with this kind of failure again; `all` for every kind; repeatable",
    ),
]
New = Annotated[bool, typer.Option("--new", help="start beside an existing run directory")]
AcceptFailures = Annotated[
    bool,
    typer.Option(
        "--accept-failures",
        help="go on however many rows fail (limits.same_failure, limits.max_failed_share)",
    ),
]
CheckShards = Annotated[
    bool,
    typer.Option(
        "--check-shards",
        help="read all shards whole; damaged ones are moved to RUN/damaged and processed again",
    ),
]


def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    new: New = False,
    sample: Annotated[int, typer.Option(min=0, help="pages to time for the estimate")] = 4,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="find the models' batch sizes for this machine, on --sample images"
        ),
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="with --measure: rendered images, without the source"),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="with --measure: time for each batch size setting")
    ] = 60,
) -> None:
    """List the source, freeze the manifest, and estimate time and price."""
    from jobs.commands import runs

    if measure:
        runs.measure(Terminal(), config, overrides or [], new, sample, size, seconds)
    else:
        runs.plan(Terminal(), config, overrides or [], new=new, sample=sample)


def run(
    config: ConfigFile,
    overrides: Overrides = None,
    new: New = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report",
            envvar="NIGHTJAR_REPORT",
            help="write RUN/report.html at the end",
        ),
    ] = True,
    accept_failures: AcceptFailures = False,
    retry_failed: RetryFailed = None,
    check_shards: CheckShards = False,
) -> None:
    """Run a job, or continue one that was interrupted."""
    from jobs.commands import runs

    changes = [*(overrides or []), *(runs.NO_LIMITS if accept_failures else ())]
    runs.run(
        Terminal(),
        config,
        changes,
        new=new,
        report=report,
        retry=retry_failed or (),
        check_shards=check_shards,
    )


def show(
    run_dir: Annotated[str, typer.Argument(help="the run_dir of a run")],
    row: Annotated[int | None, typer.Option("--row", help="everything known of one row_id")] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", help="with --row: draw it with what was found"),
    ] = None,
) -> None:
    """Show the summary of a run, or everything known about one row."""
    from jobs.commands import runs

    runs.show(Terminal(), run_dir, row, image)


def engines(
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, for scripts")] = False,
) -> None:
    """List every engine: installed, importable, weights, device, licences."""
    from jobs.commands.engines import command as job

    job.command(Terminal(), as_json=as_json)


@config_app.command("check")
def config_check(config: ConfigFile, overrides: Overrides = None) -> None:
    """Validate a config and plan its flow without running anything."""
    from jobs.commands import configs

    configs.check(Terminal(), config, overrides or [])


@config_app.command("schema")
def config_schema(
    job: Annotated[str | None, typer.Argument(help="one job; all without it")] = None,
) -> None:
    """Print the JSON Schema of the configs, for editors."""
    from jobs.commands import configs

    configs.schema(job)


@serve_app.command("vlm")
def serve_vlm(config: ConfigFile, overrides: Overrides = None) -> None:
    """Host a vision-language model as an OpenAI-compatible endpoint on Ray Serve."""
    from jobs.commands import serve

    serve.vlm(Terminal(), config, overrides or [])


def bench(context: typer.Context) -> None:
    """Run a benchmark side by side with its peers; without a name: list them."""
    from jobs.commands import bench as job

    name = context.args[0] if context.args else None
    job.command(Terminal(), name, context.args[1:])


#: Heading of `nightjar --help` -> its commands, in the order in which people need them.
_COMMANDS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "A run": {"plan": plan, "run": run, "show": show},
    "A finished run": {
        "report": cli_results.report,
        "export": cli_results.export,
        "review": cli_results.review,
        "curate": cli_curate.app,
        "app": cli_curate.open_app,
        "calibrate": cli_results.calibrate,
        "evaluate": cli_results.evaluate,
        "diff": cli_results.diff,
    },
    "A cluster": {
        "submit": cli_submit.submit,
        "status": cli_submit.status,
        "logs": cli_submit.logs,
        "stop": cli_submit.stop,
    },
    "Tools": {
        "config": config_app,
        "engines": engines,
        "serve": serve_app,
        "bench": bench,
        "pocket": cli_pocket.app,
    },
}
#: `bench` hands its options to the benchmark: `nightjar bench NAME --help` asks NAME.
_HANDED_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}

for _panel, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, rich_help_panel=_panel)
        else:
            _settings = _HANDED_ON if _command is bench else {}
            app.command(_name, rich_help_panel=_panel, context_settings=_settings)(_command)


def main() -> None:
    """Run the command; a NightjarError becomes its message, its remedy and its exit code."""
    signals.interrupt_on_signals()
    try:
        _reported()
    except (SystemExit, KeyboardInterrupt) as end:
        signals.end_as(end)


def _reported() -> None:
    from pipelines.errors import NightjarError

    try:
        app(standalone_mode=True)
    except NightjarError as error:
        console = Terminal(stderr=True)
        marked(console, type(error).__name__, error.message, "bold red")
        if error.remedy:
            marked(console, "What to do", error.remedy, "bold")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
