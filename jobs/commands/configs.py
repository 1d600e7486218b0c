"""`nightjar config`: check a config file, or print the JSON Schema."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from jobs.console.fitted import FittedTable
from pipelines.job import MODULES, find_job, load_job


def check(console: Console, path: Path, overrides: Sequence[str]) -> None:
    """`nightjar config check`."""
    job, config = load_job(path, overrides)
    texts = ("reads", "writes", "where")
    table = FittedTable("stage", *texts, above=f"{path}: {job.name}", texts=texts)
    for line in job.flow(config).explain():
        table.add_row(*line)
    console.print(table)


def schema(job: str | None) -> None:
    """`nightjar config schema`. Without `job`: one schema that accepts the configs of all jobs."""
    schemas = [find_job(name).config.model_json_schema() for name in ([job] if job else MODULES)]
    out = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    json.dump(out, sys.stdout, indent=2)
    sys.stdout.write("\n")
