"""Errors that stop a run. A failure of one item is a value in its row (`actors.failures`).

NightjarError                exit
 +- ConfigError                2   the config file or an override is wrong
 |   +- SchemaMismatch         2   a stage reads a column that no earlier stage writes
 +- SourceUnavailable          3   source missing, bucket unreachable, nothing listed
 +- WeightsMissing             4   a model's weights are not at the configured place
 |   +- DeviceUnavailable      4   the configured device does not exist
 +- RunConflict                5   the run directory belongs to another config
 |   +- RunBusy                5   another process is writing to the run directory
 |   +- RunDamaged             5   a file of the run directory is torn or foreign
 +- OutputUnwritable           6   the run directory cannot be written, or its disk is full
 +- ClusterUnreachable         7   Ray did not start, cannot be reached, or lacks resources
 +- RunFailed                  8   the run stopped for any other reason
 |   +- WorkerUnfit             8   a worker's machine, device or endpoint fails on every row
 +- RunNotFound                9   no run at this path
     +- RunUnreadable          9   the store of the run directory does not answer
 +- TooManyFailures           10   more rows failed than `limits` allows

Exit code 1 is Python's own (a bug in Nightjar). 130: a signal stopped the command (Ctrl-C, SIGTERM,
SIGHUP). 141: nobody reads its output any more.
"""

from __future__ import annotations

from typing import ClassVar


class NightjarError(Exception):
    """Stops the run. The message says what is wrong, `remedy` what to do."""

    exit_code: ClassVar[int] = 8

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[NightjarError], tuple[str, str]]:
        return type(self), (self.message, self.remedy)  # Ray pickles errors between processes


class ConfigError(NightjarError):
    exit_code = 2


class SchemaMismatch(ConfigError):
    pass


class SourceUnavailable(NightjarError):
    exit_code = 3


class WeightsMissing(NightjarError):
    exit_code = 4


class DeviceUnavailable(WeightsMissing):
    pass


class RunConflict(NightjarError):
    exit_code = 5


class RunBusy(RunConflict):
    pass


class RunDamaged(RunConflict):
    pass


class OutputUnwritable(NightjarError):
    exit_code = 6


class ClusterUnreachable(NightjarError):
    exit_code = 7


class RunFailed(NightjarError):
    exit_code = 8


class WorkerUnfit(RunFailed):
    pass


class RunNotFound(NightjarError):
    exit_code = 9


class RunUnreadable(RunNotFound):
    pass


class TooManyFailures(NightjarError):
    exit_code = 10
