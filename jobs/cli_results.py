"""The command lines of `report`, `export`, `calibrate`, `evaluate`, `diff` and `review`.

As light as `jobs.cli`: a command's module is imported when the command is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.console.terminal import Terminal

RunDirectory = Annotated[str, typer.Argument(help="the run_dir of a run")]

Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="labels: coco (default), yolo, yolo-seg, voc, jsonl; documents: text (default), "
        "markdown, jsonl, hocr, alto, pdf (searchable)",
    ),
]
Reviewed = Annotated[
    str,
    typer.Option(
        metavar="apply|only|ignore",
        help="what to do with reviewed rows. apply: use the reviewer's labels and texts, and leave "
        "rejected images out; only: labels of reviewed images alone; ignore: export the run as it "
        "is",
    ),
]
Include = Annotated[
    str,
    typer.Option(
        metavar="all|trusted",
        help="documents. all: every text there is; trusted: pages that wait for review stay "
        "without text. Failed pages are always empty pages",
    ),
]
KeepOldText = Annotated[
    bool,
    typer.Option(
        "--keep-old-text",
        help="pdf: keep the text layer that the run refused. Without it, text that nobody sees is "
        "taken out, and wrong text cannot be copied",
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="labels: also images that wait for review")]
Candidates = Annotated[
    bool, typer.Option("--candidates", help="labels: also those below their class's threshold")
]
PageBreak = Annotated[
    str, typer.Option(metavar="form-feed|blank-line", help="text: what separates pages")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="pdf: documents at once; default: one per core")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would be written")]
Masks = Annotated[
    str, typer.Option(metavar="rle|polygons|none", help="coco: how masks are written")
]
RelativeTo = Annotated[
    str | None,
    typer.Option(
        help="coco: folder or prefix that file_name is relative to; default: the run's source"
    ),
]
CopyImages = Annotated[
    bool,
    typer.Option(
        "--copy-images",
        help="labels: copy every picture into OUT, upright. Without it yolo and voc link local "
        "pictures, and coco names them",
    ),
]


def report(
    run_dir: RunDirectory,
    out: Annotated[Path | None, typer.Option("--out", help="default: RUN/report.html")] = None,
    samples: Annotated[
        int, typer.Option(min=0, max=2000, help="rows in the gallery; 0: no pictures, no texts")
    ] = 200,
    seconds: Annotated[
        float, typer.Option(min=1, help="time limit for the counts, and again for the pictures")
    ] = 120.0,
) -> None:
    """Write a run as one HTML file: counts, reasons, scores, and a gallery with filters."""
    from jobs.commands import report as job

    job.command(Terminal(), run_dir, out, samples=samples, seconds=seconds)


def export(
    run_dir: RunDirectory,
    out: Annotated[str, typer.Argument(help="labels: a new directory; documents: also a bucket")],
    form: Format = None,
    everything: Everything = False,
    candidates: Candidates = False,
    reviewed: Reviewed = "apply",
    include: Include = "all",
    page_break: PageBreak = "form-feed",
    workers: Workers = None,
    dry_run: DryRun = False,
    masks: Masks = "rle",
    copy_images: CopyImages = False,
    keep_old_text: KeepOldText = False,
    relative_to: RelativeTo = None,
) -> None:
    """Write the labels of an autolabel run, or the documents of an OCR run, for other tools.

    Documents: one file for each source document, in the source's layout, and documents.jsonl as
    the index. The same command again writes what is missing or has changed.
    """
    from jobs.commands import export as job

    asked = job.Asked(
        form,
        include,
        reviewed,
        page_break,
        workers,
        dry_run,
        masks=masks,
        copy_images=copy_images,
        relative_to=relative_to,
        keep_old_text=keep_old_text,
    )
    job.command(Terminal(), run_dir, out, asked, everything=everything, candidates=candidates)


#: Options of `calibrate`.
CalibrationTruth = Annotated[
    str,
    typer.Option(
        "--truth",
        help="pages: true texts, a folder or file; labels: COCO JSON; both: the word reviewed, "
        "or Parquet of reviewed rows",
    ),
]
TargetCer = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="pages: CER of all accepted pages together that is promised, with blanks or "
        "without as --cer says; default: 0.02",
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        min=0.5, max=0.999, help="pages: probability that the promise holds; default: 0.9"
    ),
]
KindOfCer = Annotated[
    Literal["auto", "with-blanks", "without-blanks"] | None,
    typer.Option(
        help="pages: whether a run of white space counts as a character. auto, the default: it "
        "does, unless the blanks of some truth are not reliable, such as SROIE's"
    ),
]
TargetPrecision = Annotated[
    float | None, typer.Option(min=0, max=1, help="labels; default: best F1")
]
CalibrationFile = Annotated[
    Path | None, typer.Option("--out", help="default: RUN/calibration/ENGINE.json")
]


def calibrate(
    run_dir: RunDirectory,
    truth: CalibrationTruth,
    target_cer: TargetCer = None,
    confidence: Confidence = None,
    cer: KindOfCer = None,
    target_precision: TargetPrecision = None,
    out: CalibrationFile = None,
    language: Annotated[str | None, typer.Option(help="of the pages, for the record")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the folds and of the bootstrap")] = 0,
) -> None:
    """Learn from truth how far scores can be trusted, and which floors can promise a target.

    Pages: writes a calibration file that a config names, and a plot. Labels: prints a threshold
    for each class.
    """
    from jobs.commands import calibrate as job

    asked = job.Asked(
        truth, target_cer, target_precision, out, language, seed, confidence=confidence, cer=cer
    )
    job.command(Terminal(), run_dir, asked)


def evaluate(
    run_dir: RunDirectory,
    truth: Annotated[
        str,
        typer.Option(
            "--truth",
            help="labels: COCO JSON; pages: true texts, a folder or file; both: the word reviewed, "
            "or Parquet of reviewed rows",
        ),
    ],
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="COLUMN",
            help="figures for each value of a column of the run, of --metadata, or of image_size "
            "or folder; repeatable",
        ),
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option("--metadata", help="CSV or Parquet with a column uri")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="default: RUN/evaluation")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the bootstrap and of the halves")] = 0,
) -> None:
    """Compare a run with truth: AP, curves and confusion of labels; CER and WER of texts.

    By outcome and by slice, with 95 % intervals. Writes evaluation.json and plots.
    """
    from jobs.commands import evaluate as job

    job.command(Terminal(), run_dir, job.Asked(truth, slices or (), metadata, out, seed))


def diff(
    run_a: Annotated[str, typer.Argument(help="the run_dir of the run before")],
    run_b: Annotated[str, typer.Argument(help="the run_dir of the run after, on the same files")],
    truth: Annotated[
        str | None,
        typer.Option("--truth", help="as for evaluate; regressions are then listed first"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="a JSON lines file for every row that differs")
    ] = None,
) -> None:
    """Show what changed between two runs: labels, texts, outcomes; with truth, better or worse."""
    from jobs.commands import diff as job

    job.command(Terminal(), run_a, run_b, truth, out)


review = typer.Typer(no_args_is_help=True, help="The review queue: export it, import the answers.")


@review.command("export")
def review_export(
    run_dir: RunDirectory,
    out: Annotated[Path, typer.Argument(help="a new directory")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="only this many items, the most useful ones")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="also failed rows")] = False,
    again: Annotated[bool, typer.Option("--again", help="also rows that were reviewed")] = False,
) -> None:
    """Write the review queue as a folder: JSON lines and pictures, the most useful items first.

    Each item has its picture, all readings or labels, and the reasons against them.
    """
    from jobs.commands import review as job

    job.export(Terminal(), run_dir, out, limit, failed=failed, again=again)


@review.command("import")
def review_import(
    run_dir: Annotated[str, typer.Argument(help="the run that the folder was exported from")],
    folder: Annotated[Path, typer.Argument(help="the filled folder")],
    reviewer: Annotated[
        str | None, typer.Option("--reviewer", metavar="NAME", help="default: $USER")
    ] = None,
) -> None:
    """Read the answers of a filled folder into RUN/reviewed. The shards are never changed."""
    from jobs.commands import review as job

    job.import_(Terminal(), run_dir, folder, reviewer)
