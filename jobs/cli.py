"""The command `nightjar`. Heavy imports wait until a command needs them: `--help` is instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jobs import cli_curate, cli_pocket, cli_submit

app = typer.Typer(
    name="nightjar",
    help="Label everything by morning: boxes, masks and text for large sets of images and pages.",
    epilog="Exit codes: 0 done, 2 config, 3 source, 4 weights or device, 5 run directory in "
    "conflict or busy, 6 output not writable, 7 cluster, 8 run failed, 9 no such run, 130 stopped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(no_args_is_help=True, help="Check a config, or print the schema of all.")
app.add_typer(config_app, name="config")
app.add_typer(cli_pocket.app, name="pocket")
review_app = typer.Typer(no_args_is_help=True, help="What waits for people: out, and back in.")
app.add_typer(review_app, name="review")

serve_app = typer.Typer(no_args_is_help=True, help="Endpoints that runs can use.")
app.add_typer(serve_app, name="serve")
app.add_typer(cli_curate.app, name="curate")
app.command("app")(cli_curate.open_app)
for _command in (cli_submit.submit, cli_submit.status, cli_submit.logs, cli_submit.stop):
    app.command()(_command)

ConfigFile = Annotated[Path, typer.Argument(help="a YAML file, see configs/")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="override a key; repeatable")
]
New = Annotated[bool, typer.Option("--new", help="start beside an existing run directory")]


@app.command()
def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    new: New = False,
    sample: Annotated[int, typer.Option(min=0, help="pages to time for the estimate")] = 4,
) -> None:
    """List the source, freeze the manifest, and say how long the run will take."""
    from jobs.commands import runs

    runs.plan(Console(), config, overrides or [], new=new, sample=sample)


@app.command()
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
) -> None:
    """Run a job to its end, or go on with one that was interrupted."""
    from jobs.commands import runs

    runs.run(Console(), config, overrides or [], new=new, report=report)


@app.command()
def show(
    run_dir: Annotated[str, typer.Argument(help="the run_dir of a run")],
    row: Annotated[int | None, typer.Option("--row", help="everything known of one row_id")] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", help="with --row: draw it with what was found"),
    ] = None,
) -> None:
    """The summary of a run, or everything known of one of its rows."""
    from jobs.commands import runs

    runs.show(Console(), run_dir, row, image)


@app.command()
def report(
    run_dir: Annotated[str, typer.Argument(help="the run_dir of a run, finished or not")],
    out: Annotated[Path | None, typer.Option("--out", help="else RUN/report.html")] = None,
    samples: Annotated[
        int, typer.Option(min=0, max=2000, help="rows in the gallery; 0: no pictures, no texts")
    ] = 200,
    seconds: Annotated[
        float, typer.Option(min=1, help="for the counts, and again for the pictures")
    ] = 120.0,
) -> None:
    """Write a run as one HTML file: counts, reasons, scores, and a gallery to look through."""
    from jobs.commands import report as job

    job.command(Console(), run_dir, out, samples=samples, seconds=seconds)


@app.command()
def export(
    run_dir: Annotated[str, typer.Argument(help="the run_dir of a run")],
    out: Annotated[
        str, typer.Argument(help="a directory that is not there yet; documents: also s3://")
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="labels: coco (as without), yolo, yolo-seg, voc, jsonl; documents: text (as "
            "without), markdown, jsonl, hocr, alto, pdf (searchable)",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="labels: also images that wait for review")
    ] = False,
    candidates: Annotated[
        bool, typer.Option("--candidates", help="labels: also those below their class's threshold")
    ] = False,
    reviewed: Annotated[
        str,
        typer.Option(
            metavar="apply|only|ignore",
            help="answers of nightjar review import and curate pull. apply: accepted and corrected "
            "images go out with their true labels, whatever their outcome; rejected ones never; "
            "pages have the text that a person left. only: these images and no others. ignore: "
            "all as the run left them",
        ),
    ] = "apply",
    include: Annotated[
        str,
        typer.Option(
            metavar="all|trusted",
            help="documents: all: whatever text there is, also of pages that wait for review; "
            "trusted: these pages stay without theirs. Failed pages are empty pages either way",
        ),
    ] = "all",
    page_break: Annotated[
        str,
        typer.Option(
            metavar="form-feed|blank-line", help="documents as text: what stands between pages"
        ),
    ] = "form-feed",
    workers: Annotated[
        int | None, typer.Option(min=1, help="PDFs made at once; one per core without")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="documents: say what would be written")
    ] = False,
) -> None:
    """Write the labels of an autolabel run, or the documents of an OCR run, for other tools.

    Documents: one file each, as the source is laid out, and documents.jsonl to say what is where.
    The same command again writes what is missing, or has changed since.
    """
    from jobs.commands import export as job

    asked = job.Asked(form, include, reviewed, page_break, workers, dry_run)
    if job.is_for_documents(run_dir):
        job.documents(Console(), run_dir, out, asked, everything=everything, candidates=candidates)
        return
    from jobs.commands import export_labels

    job.check_for_labels(out, asked)
    export_labels.export(
        Console(),
        run_dir,
        Path(out),
        form or "coco",
        everything=everything,
        candidates=candidates,
        reviewed=reviewed,
    )


@app.command()
def calibrate(
    run_dir: Annotated[str, typer.Argument(help="the run_dir of a finished run")],
    truth: Annotated[
        str,
        typer.Option(
            "--truth",
            help="true texts (a folder or file), or the COCO JSON of an autolabel run; either: the "
            "word reviewed, or Parquet of reviewed rows",
        ),
    ],
    target_cer: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="pages: CER of the accepted ones together; 0.02 without"),
    ] = None,
    target_precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="labels: best F1 without")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="else RUN/calibration/ENGINE.json")
    ] = None,
    language: Annotated[str | None, typer.Option(help="of the pages, for the record")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the folds and of the bootstrap")] = 0,
) -> None:
    """Learn from truth what the scores of a run are worth, and which floors meet a target.

    Pages: writes a calibration for configs, with a picture. Labels: prints thresholds by class.
    """
    from jobs.commands import calibrate as job

    job.command(
        Console(),
        run_dir,
        job.Asked(truth, target_cer, target_precision, out, language, seed),
    )


@app.command()
def evaluate(
    run_dir: Annotated[str, typer.Argument(help="the run_dir of a run")],
    truth: Annotated[
        str,
        typer.Option(
            "--truth",
            help="labels: a COCO JSON; pages: true texts, a folder or file; either: the word "
            "reviewed, or Parquet of reviewed rows",
        ),
    ],
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="COLUMN",
            help="figures for each value of a column: of the run, of --metadata, or image_size, "
            "folder; repeatable",
        ),
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option("--metadata", help="CSV or Parquet with a column uri")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="else RUN/evaluation")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the bootstrap and of the halves")] = 0,
) -> None:
    """What a run is worth against truth: AP, curves and confusion of labels, CER and WER of texts.

    By outcome and by slice, with 95 % intervals; writes evaluation.json and pictures.
    """
    from jobs.commands import evaluate as job

    job.command(Console(), run_dir, job.Asked(truth, slices or (), metadata, out, seed))


@app.command()
def diff(
    run_a: Annotated[str, typer.Argument(help="the run_dir of a run: before")],
    run_b: Annotated[str, typer.Argument(help="of another over the same files: after")],
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth", help="as of nightjar evaluate: regressions come first, worst first"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="JSON lines: every row that differs")
    ] = None,
) -> None:
    """What changed between two runs: labels, texts, outcomes; with truth, for better or worse."""
    from jobs.commands import diff as job

    job.command(Console(), run_a, run_b, truth, out)


@app.command()
def engines(
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, for scripts")] = False,
) -> None:
    """Every engine: installed, importable in its environment, weights, device, licences."""
    from jobs.commands import engines as job

    job.command(Console(), as_json=as_json)


@config_app.command("check")
def config_check(config: ConfigFile, overrides: Overrides = None) -> None:
    """Validate a config and plan its flow without running anything."""
    from jobs.commands import configs

    configs.check(Console(), config, overrides or [])


@config_app.command("schema")
def config_schema(
    job: Annotated[str | None, typer.Argument(help="one job; all without it")] = None,
) -> None:
    """Print the JSON Schema of the configs, for editors."""
    from jobs.commands import configs

    configs.schema(job)


@review_app.command("export")
def review_export(
    run_dir: Annotated[str, typer.Argument(help="the run_dir of a run")],
    out: Annotated[Path, typer.Argument(help="a directory that is not there yet")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="this many items, those with the most to gain")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="failed rows as well")] = False,
    again: Annotated[bool, typer.Option("--again", help="rows reviewed before as well")] = False,
) -> None:
    """Write the review queue as a folder to fill: JSON lines and pictures, the most to gain first.

    With a picture of each page, all readings of it, and why nobody should trust them.
    """
    from jobs.commands import review

    review.export(Console(), run_dir, out, limit, failed=failed, again=again)


@review_app.command("import")
def review_import(
    run_dir: Annotated[str, typer.Argument(help="the run that the folder was exported from")],
    folder: Annotated[Path, typer.Argument(help="the filled folder")],
    reviewer: Annotated[
        str | None, typer.Option("--reviewer", metavar="NAME", help="who has looked; else $USER")
    ] = None,
) -> None:
    """Take the answers of a filled folder into RUN/reviewed; the run's shards stay as they are."""
    from jobs.commands import review

    review.import_(Console(), run_dir, folder, reviewer)


@serve_app.command("vlm")
def serve_vlm(config: ConfigFile, overrides: Overrides = None) -> None:
    """Host a vision-language model as an OpenAI-compatible endpoint on Ray Serve."""
    from jobs.commands import serve

    serve.vlm(Console(), config, overrides or [])


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],  # `bench NAME --help` asks NAME
    }
)
def bench(context: typer.Context) -> None:
    """Run a benchmark side by side with its peers: nightjar bench [NAME [arguments]]."""
    from jobs.commands import bench as job

    name = context.args[0] if context.args else None
    job.command(Console(), name, context.args[1:])


def main() -> None:
    """Run the command; a NightjarError becomes its message, its remedy and its exit code."""
    from pipelines.errors import NightjarError

    try:
        app(standalone_mode=True)
    except NightjarError as error:
        console = Console(stderr=True, highlight=False)
        console.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        console.print(error.message, markup=False)
        if error.remedy:
            console.print("[bold]What to do[/]: ", end="")
            console.print(error.remedy, markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped. What is committed is kept; the same command goes on.")
        sys.exit(130)


if __name__ == "__main__":
    main()
