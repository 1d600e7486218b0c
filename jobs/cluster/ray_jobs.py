"""Client of a Ray cluster's job server, for `nightjar submit`, `status`, `logs` and `stop`.

Imports Ray (2 s): commands import this module only after the config has been checked.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, cast

import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from pipelines.errors import ClusterUnreachable, NightjarError, RunNotFound

#: Seconds to connect, and to wait for an answer. Ray's own client has no timeout.
TIMEOUTS = (10.0, 60.0)
_PREFIX = "nightjar-"
#: Exit code of a shell that does not find the program.
_NO_PROGRAM = 127
#: Seconds until Ray kills a job that was asked to stop (its default: 3). The run needs
#: `limits.finish_s` and the time of its last commits. Ray's supervisor of the job reads it.
_STOP_WAIT = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}


def submission_id(run_dir: str) -> str:
    """The id of a run directory's first job: its name and a hash of its path."""
    clean = run_dir.rstrip("/") or "/"
    slug = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(clean).name.lower()).strip("-")[:40]
    return f"{_PREFIX}{slug or 'run'}-{hashlib.sha256(clean.encode()).hexdigest()[:10]}"


def exit_code(job: JobDetails) -> int | None:
    """The exit code of `nightjar run` (table in `pipelines.errors`); None if it still runs.

    130: the job was stopped. 7: its driver never started, or its node was lost.
    """
    if not job.status.is_terminal():
        return None
    if job.status == JobStatus.SUCCEEDED:
        return 0
    if job.status == JobStatus.STOPPED:
        return 130
    code = job.driver_exit_code
    if code is None or code == 0:
        return ClusterUnreachable.exit_code
    return 128 - code if code < 0 else code  # -9: ended by signal 9


def outcome(job: JobDetails) -> str:
    """The state of a job, as the end of a sentence."""
    if job.status == JobStatus.PENDING:
        return "is waiting to start"
    if job.status == JobStatus.RUNNING:
        return "is running"
    if job.status == JobStatus.SUCCEEDED:
        return "has finished"
    if job.status == JobStatus.STOPPED:
        return "was stopped"
    if job.driver_exit_code is None:
        reason = (job.message or "Ray gives no reason").strip()
        return f"did not start, or its node was lost: {reason}"
    if exit_code(job) == _NO_PROGRAM:
        return "found no Python: put Nightjar's environment on the PATH of the cluster's nodes"
    return f"has failed with exit code {exit_code(job)}"


class _Client(JobSubmissionClient):
    """Ray's client with a timeout. Without one it hangs when the head is gone."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, **({"timeout": TIMEOUTS} | options))


class Head:
    """The cluster at `address` (``http://HOST:8265``). Every method raises ClusterUnreachable."""

    def __init__(self, address: str) -> None:
        self.address = address
        # Ray prefers its variables to the address that it is given.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
        logging.getLogger("ray.dashboard").setLevel(logging.ERROR)
        for module in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.ERROR)
        with self._errors():
            self._client = _Client(address)

    def check_version(self) -> None:
        """Raises ClusterUnreachable if the cluster has another version of Ray."""
        with self._errors():
            theirs = self._client._do_request("GET", "/api/version").json()["ray_version"]
        if theirs != ray.__version__:
            raise ClusterUnreachable(
                f"the cluster at {self.address} runs Ray {theirs}; Ray {ray.__version__} is "
                "installed here",
                f"submit from an environment with ray=={theirs}, or start the cluster from an "
                f"image with Ray {ray.__version__} (infra/README.md)",
            )

    def nodes(self) -> int:
        """Number of living nodes."""
        with self._errors():
            answer = self._client._do_request("GET", "/api/v0/nodes").json()
        found = answer["data"]["result"]["result"]
        return sum(node["state"] == "ALIVE" for node in found)

    def find(self, job: str) -> JobDetails | None:
        """The job with this id, or None."""
        return next((one for one in self.jobs() if one.submission_id == job), None)

    def jobs(self) -> list[JobDetails]:
        """All submitted jobs that the cluster knows, by start time."""
        with self._errors():
            known = self._client.list_jobs()
        submitted = [job for job in known if job.submission_id]
        return sorted(submitted, key=lambda job: job.start_time or 0)

    def tries(self, first: str) -> list[JobDetails]:
        """The submitted ones among the jobs `first`, `first`-2, `first`-3, ..., in this order."""
        numbered = re.compile(rf"{re.escape(first)}(?:-(\d+))?")
        found = {
            int(match[1] or 1): job
            for job in self.jobs()
            if (match := numbered.fullmatch(job.submission_id or ""))
        }
        return [found[number] for number in sorted(found)]

    def resolve(self, target: str) -> JobDetails:
        """The job of a submission id, or the latest of a run directory. Raises RunNotFound."""
        exact = self.find(target)
        tries = [exact] if exact else self.tries(submission_id(target))
        if not tries:
            raise RunNotFound(
                f"the cluster at {self.address} knows no job of {target}",
                "give a submission id, or the run_dir exactly as in the config; nightjar status "
                "lists all jobs. A restarted head has forgotten its jobs, but the runs are kept",
            )
        return tries[-1]

    def submit(
        self,
        job: str,
        entrypoint: str,
        archive: Path,
        env: Mapping[str, str],
        metadata: Mapping[str, str],
    ) -> None:
        """Upload the zip file `archive` and start `entrypoint` in it."""
        runtime_env = {"working_dir": str(archive), "env_vars": _STOP_WAIT | dict(env)}
        with self._errors():
            self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=job,
                runtime_env=runtime_env,
                metadata=dict(metadata),
            )

    def stop(self, job: str) -> bool:
        """Ask a job to stop. False: it has already ended."""
        with self._errors():
            return self._client.stop_job(job)

    def logs(self, job: str) -> str:
        """All output of a job so far."""
        with self._errors():
            return self._client.get_job_logs(job)

    def tail(self, job: str) -> AsyncGenerator[str, None]:
        """The output of a job as a stream from its beginning. Connection errors pass through."""
        return cast("AsyncGenerator[str, None]", self._client.tail_job_logs(job))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            raise _refused(self.address, error) from None
        except (requests.RequestException, ConnectionError) as error:
            reason = str(error).splitlines()[0][:200]
            raise ClusterUnreachable(
                f"no Ray job server at {self.address}: {reason}",
                "check --address (that of the dashboard, usually port 8265), that the head is "
                "running, and that port forwarding is still active",
            ) from None
        except (RuntimeError, KeyError, ValueError) as error:
            raise ClusterUnreachable(
                f"the job server at {self.address} answered: {str(error).strip()[:2000]}",
                "see the dashboard's log on the head: /tmp/ray/session_latest/logs",
            ) from None


def _refused(address: str, error: Exception) -> NightjarError:
    missing = "required" in str(error)
    what = "asks for a token (401)" if missing else "does not know this token (403)"
    return ClusterUnreachable(
        f"the cluster at {address} {what}",
        "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) as on the cluster",
    )
