"""Ask every environment for its engines and print the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from jobs.commands.engines.catalogue import ENGINES, Engine
from jobs.console.fitted import FittedTable
from pipelines.engine import environments

#: Seconds for all imports of an environment: torch, transformers and paddlex take 4 to 20 s each.
_PROBE_S = 300
_OURS = "ours"
#: Columns of the table without a terminal: at rich's default of 80 every cell would wrap.
_PLAIN_WIDTH = 240


@dataclass(frozen=True)
class State:
    """A row of the table. `importable`: "yes", or the error."""

    engine: str
    environment: str
    installed: str
    importable: str
    weights: str
    device: str
    code_licence: str
    weights_licence: str


def command(console: Console, *, as_json: bool) -> None:
    """Print the state of every engine. A missing engine is no error: few users need all of them."""
    with console.status("importing every engine in its environment"):
        states = survey()
    if as_json:
        sys.stdout.write(json.dumps([asdict(state) for state in states], indent=2) + "\n")
        return
    headings = ("engine", "environment", "installed", "importable", "weights", "device", "licences")
    table = FittedTable(*headings, texts=headings[1:])
    for one in states:
        licences = f"{one.code_licence} / {one.weights_licence}"
        cells = (one.engine, one.environment, one.installed, one.importable, one.weights)
        table.add_row(*cells, one.device, licences)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    console.print(table, highlight=False, markup=False)
    console.print("licences: code / weights", highlight=False)


def survey() -> list[State]:
    """The state of each engine on this machine."""
    names = list(dict.fromkeys(engine.environment for engine in ENGINES))
    with ThreadPoolExecutor() as threads:
        answers = dict(zip(names, threads.map(_asked, names), strict=True))
    return [_state(engine, *answers[engine.environment]) for engine in ENGINES]


def _asked(environment: str | None) -> tuple[Path | None, dict[str, Any] | str]:
    """The Python of an environment and its answer, or the reason why it gives none."""
    python = Path(sys.executable) if environment is None else environments.find(environment)
    if python is None:
        places = ", ".join(map(str, environments.folders()))
        return None, f"no environment in {places}; create it: make engines"
    modules = {
        module
        for engine in ENGINES
        if engine.environment == environment
        for module in engine.modules
    }
    argv = [str(python), "-m", "jobs.commands.engines.probe", *sorted(modules)]
    quiet = {**os.environ, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PROBE_S, env=quiet)
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return python, f"{python} does not answer: {type(error).__name__}"
    return python, answer


def _state(engine: Engine, python: Path | None, answer: dict[str, Any] | str) -> State:
    if isinstance(answer, str):
        installed, importable, device = "no", answer, ""
    else:
        version = answer["versions"].get(engine.package)
        installed = f"{engine.package} {version}" if version else "no"
        importable, device = _importable(engine, answer), answer["device"]
    return State(
        engine=engine.name,
        environment=engine.environment or _OURS,
        installed=installed,
        importable=importable,
        weights=engine.weights(python if engine.environment else None) or "not found",
        device=device,
        code_licence=engine.code_licence,
        weights_licence=engine.weights_licence,
    )


def _importable(engine: Engine, answer: dict[str, Any]) -> str:
    faults = [answer["faults"][module] for module in engine.modules if module in answer["faults"]]
    if not answer["versions"].get(engine.package):
        return f"no: {engine.package} is not installed"
    return f"no: {faults[0].splitlines()[0]}" if faults else "yes"
