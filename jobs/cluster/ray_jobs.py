"""The job server of a Ray cluster, as much of it as `nightjar submit` and its siblings need.

Imports Ray (2 s): commands import it when they know that they need it.
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

#: Seconds to connect, and to wait for an answer. Ray's own client waits for ever.
TIMEOUTS = (10.0, 60.0)
_PREFIX = "nightjar-"
#: What a shell reports where it does not find a program.
_NO_PROGRAM = 127


def submission_id(run_dir: str) -> str:
    """The id of a run directory's first job: readable, and another for every directory."""
    clean = run_dir.rstrip("/") or "/"
    slug = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(clean).name.lower()).strip("-")[:40]
    return f"{_PREFIX}{slug or 'run'}-{hashlib.sha256(clean.encode()).hexdigest()[:10]}"


def exit_code(job: JobDetails) -> int | None:
    """What `nightjar run` exited with (the table in `pipelines.errors`); None: it has not ended.

    130 for a job that was stopped, 7 for one whose driver never started or went with its node.
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
    return 128 - code if code < 0 else code  # -9: the signal that ended it


def outcome(job: JobDetails) -> str:
    """How a job stands, in words."""
    if job.status == JobStatus.PENDING:
        return "is waiting to start"
    if job.status == JobStatus.RUNNING:
        return "is running"
    if job.status == JobStatus.SUCCEEDED:
        return "has finished"
    if job.status == JobStatus.STOPPED:
        return "was stopped"
    if job.driver_exit_code is None:
        return f"never ran or lost its node: {(job.message or 'Ray gives no reason').strip()}"
    if exit_code(job) == _NO_PROGRAM:
        return "found no Python: the cluster's nodes need Nightjar's environment on their PATH"
    return f"has failed with exit code {exit_code(job)}"


class _Client(JobSubmissionClient):
    """Ray's client, which sets no timeout: a head that went away would hold it for ever."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, **({"timeout": TIMEOUTS} | options))


class Head:
    """The cluster at `address` (``http://HOST:8265``). Every method raises ClusterUnreachable."""

    def __init__(self, address: str) -> None:
        self.address = address
        # Either variable would win over the address that was asked for.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
        logging.getLogger("ray.dashboard").setLevel(logging.ERROR)
        for module in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.ERROR)
        with self._told():
            self._client = _Client(address)

    def check_version(self) -> None:
        """Raises ClusterUnreachable if the cluster's Ray is not the one that is imported here."""
        with self._told():
            theirs = self._client._do_request("GET", "/api/version").json()["ray_version"]
        if theirs != ray.__version__:
            raise ClusterUnreachable(
                f"the cluster at {self.address} runs Ray {theirs}, this is Ray {ray.__version__}",
                f"submit from an environment with ray=={theirs}, or give the cluster an image with "
                f"{ray.__version__} (infra/README.md)",
            )

    def nodes(self) -> int:
        """How many nodes are alive."""
        with self._told():
            answer = self._client._do_request("GET", "/api/v0/nodes").json()
        found = answer["data"]["result"]["result"]
        return sum(node["state"] == "ALIVE" for node in found)

    def find(self, job: str) -> JobDetails | None:
        """The job of exactly this id."""
        return next((one for one in self.jobs() if one.submission_id == job), None)

    def jobs(self) -> list[JobDetails]:
        """All submitted jobs that the cluster remembers, in the order of their start."""
        with self._told():
            known = self._client.list_jobs()
        submitted = [job for job in known if job.submission_id]
        return sorted(submitted, key=lambda job: job.start_time or 0)

    def tries(self, first: str) -> list[JobDetails]:
        """The jobs `first`, `first`-2, `first`-3, ... as far as they were submitted."""
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
                "give a submission id or the run_dir as the config has it; nightjar status lists "
                "what there is. A head that was restarted has forgotten its jobs, not their runs",
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
        """Upload the zip file and start the entrypoint in it."""
        runtime_env: dict[str, Any] = {"working_dir": str(archive)}
        if env:
            runtime_env["env_vars"] = dict(env)
        with self._told():
            self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=job,
                runtime_env=runtime_env,
                metadata=dict(metadata),
            )

    def stop(self, job: str) -> bool:
        """Ask a job to end; False: it has already."""
        with self._told():
            return self._client.stop_job(job)

    def logs(self, job: str) -> str:
        """All that a job has printed so far."""
        with self._told():
            return self._client.get_job_logs(job)

    def tail(self, job: str) -> AsyncGenerator[str, None]:
        """What a job prints, from its beginning; raises whatever the connection does."""
        return cast("AsyncGenerator[str, None]", self._client.tail_job_logs(job))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            raise _refused(self.address, error) from None
        except (requests.RequestException, ConnectionError) as error:
            reason = str(error).splitlines()[0][:200]
            raise ClusterUnreachable(
                f"no Ray job server at {self.address}: {reason}",
                "check --address (the dashboard's, usually port 8265), that the head is up, and "
                "that a port forwarded to it still is",
            ) from None
        except (RuntimeError, KeyError, ValueError) as error:
            raise ClusterUnreachable(
                f"the job server at {self.address} answered: {str(error).strip()[:2000]}",
                "see the dashboard's log on the head (/tmp/ray/session_latest/logs)",
            ) from None


def _refused(address: str, error: Exception) -> NightjarError:
    missing = "required" in str(error)
    what = "asks for a token (401)" if missing else "does not know this token (403)"
    return ClusterUnreachable(
        f"the cluster at {address} {what}",
        "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) as on the cluster",
    )
