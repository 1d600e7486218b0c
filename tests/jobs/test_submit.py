"""Runs on a real Ray head: submitted, followed, found again, stopped; what is published."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pyarrow.dataset as ds
import pytest
from bad_files import good_page, many_pages, truncated_jpeg
from chat_server import chat_server, said
from conftest import Ended, nightjar_argv, write_config
from doubles.hangs_up import hangs_up
from ray_head import RayHead, ray_head
from rich.console import Console

from jobs.cluster.follow import follow
from jobs.cluster.ray_jobs import Head, submission_id
from jobs.commands import submit
from pipelines.errors import ClusterUnreachable, ConfigError, RunNotFound

#: The submitter's own key, and one that the cluster owns and the run uses.
MINE, THEIRS = "planted-key-of-the-submitter-7c1d", "planted-key-of-the-cluster-92be"
STRICT = {"floors": {"rapid_ocr": {"mean_score": 1.0}}}


def cli(folder: Path, *arguments: str | Path, **env: str) -> Ended:
    settings = os.environ | {"RAY_AUTH_MODE": "disabled", "AWS_SECRET_ACCESS_KEY": MINE} | env
    done = subprocess.run(
        nightjar_argv(*arguments),
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        timeout=580,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def here(command: Callable[..., None], *arguments: Any, **options: Any) -> Ended:
    """The same without the 2 s in which a process imports Ray."""
    out, code = StringIO(), 0
    try:
        command(Console(file=out, width=200), *arguments, **options)
    except SystemExit as left:
        code = int(left.code or 0)
    return Ended(code, out.getvalue(), "")


def asked(address: str, **changes: Any) -> submit.Asked:
    settings: dict[str, Any] = {"address": address, "overrides": (), "env": (), "max_mb": 64.0}
    flags = dict.fromkeys(("follow", "again", "dry_run"), False)
    return submit.Asked(**settings | flags | changes)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayHead]:
    with ray_head({"READER_KEY": THEIRS}) as head:
        yield head


@dataclass(frozen=True)
class Night:
    """A run that was submitted and followed to its end."""

    folder: Path
    config: Path
    name: str
    ended: Ended
    queues: list[str]  # what Prometheus saw of them meanwhile


@pytest.fixture(scope="module")
def night(cluster: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Two pages in doubt, which the fallback is asked about, and one that nobody can open."""
    folder = tmp_path_factory.mktemp("night")
    source = folder / "scans"
    source.mkdir()
    good_page(source, name="a.png")
    good_page(source, "ALL OTHER WORDS 77", name="b.png")
    truncated_jpeg(source)
    (folder / ".env").write_text(f"AWS_SECRET_ACCESS_KEY={MINE}")
    with chat_server() as endpoint:
        endpoint.always = lambda _: said("some text")
        vlm = {"base_url": endpoint.base_url, "model": "reader", "api_key_env": "READER_KEY"}
        config = write_config(
            folder, source, routing=STRICT, vlm=vlm, vlm_pool={"num_cpus": 0.1}, ray={}
        )
        queues: list[str] = []
        over = Event()
        Thread(target=watch_queues, args=(cluster, queues, over), daemon=True).start()
        ended = cli(folder, "submit", config, "--address", cluster.jobs, "--follow")
        over.set()
    return Night(folder, config, submission_id(str(folder / "run")), ended, queues)


def watch_queues(cluster: RayHead, seen: list[str], over: Event) -> None:
    while not over.wait(0.5):
        with suppress(OSError):  # the endpoint is up some seconds after the job server
            seen += cluster.metric_lines("nightjar_queue_rows")


def test_a_submitted_run_ends_like_one_that_was_run_here(night: Night) -> None:
    assert night.ended.code == 0, night.ended.out + night.ended.err
    assert f"submitted as {night.name}" in night.ended.out
    assert "package: 1 files" in night.ended.out, "the config file; scans and .env stay"
    assert f"{night.name} has finished" in night.ended.out
    rows = ds.dataset(night.folder / "run" / "shards").to_table().to_pylist()
    assert sorted(row["outcome"] for row in rows)[0] == "failed"
    assert len(rows) == 3
    assert sum((row["vlm_usage"] or {}).get("requests", 0) for row in rows) == 2


def test_a_second_submit_starts_nothing(cluster: RayHead, night: Night) -> None:
    again = here(submit.submit, night.config, asked(cluster.jobs))
    assert again.code == 0
    assert f"{night.name} has finished; nothing was submitted" in again.out
    assert "--again" in again.out
    assert [job.submission_id for job in Head(cluster.jobs).jobs()].count(night.name) == 1
    known = here(submit.status, str(night.folder / "run"), cluster.jobs)
    assert known.code == 0
    assert known.out.startswith(f"{night.name} has finished")


def test_no_key_is_in_the_metadata_the_log_the_package_or_the_run(
    cluster: RayHead, night: Night
) -> None:
    head = Head(cluster.jobs)
    shown = "".join(job.model_dump_json() for job in head.jobs())
    assert "nightjar_run_dir" in shown
    places = {"metadata": shown, "log": head.logs(night.name), "terminal": night.ended.out}
    packages = [path for path in cluster.folder.rglob("_ray_pkg_*/**/*") if path.is_file()]
    assert any(path.name == "config.yaml" for path in packages)
    for path in [*packages, *(night.folder / "run").rglob("*")]:
        if path.is_file():
            places[str(path)] = path.read_bytes().decode(errors="replace")
    found = [place for place, text in places.items() for key in (MINE, THEIRS) if key in text]
    assert not found


def test_prometheus_gets_every_metric_of_the_run(cluster: RayHead, night: Night) -> None:
    def seen(name: str, **tags: str) -> float:
        lines = [
            line
            for line in cluster.metric_lines(f"ray_{name}{{")
            if all(f'{key}="{value}"' in line for key, value in (tags | {"run": "run"}).items())
        ]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    assert night.ended.code == 0
    assert seen("nightjar_rows_total", stage="page_fetcher") == 3
    assert seen("nightjar_rows_total", stage="rapid_ocr") == 3
    assert seen("nightjar_failures_total", stage="page_fetcher", kind="CORRUPT_IMAGE") == 1
    assert seen("nightjar_stage_seconds_count", stage="rapid_ocr") == 1
    assert seen("nightjar_stage_seconds_sum", stage="rapid_ocr") > 0.01
    assert seen("nightjar_outcomes_total", outcome="failed") == 1
    assert seen("nightjar_outcomes_total") == 3
    assert seen("nightjar_escalations_total") == 2
    assert seen("nightjar_vlm_tokens_total", direction="completion") > 0
    assert "# TYPE ray_nightjar_queue_rows gauge" in night.queues
    waited = [line for line in night.queues if 'run="run",stage="rapid_ocr"' in line]
    assert float(waited[-1].rsplit(" ", 1)[1]) >= 0


def test_a_log_is_printed_once_over_a_line_that_breaks(cluster: RayHead, night: Night) -> None:
    port = int(cluster.jobs.rpartition(":")[2])
    printed: list[str] = []
    notes: list[str] = []
    whole = Head(cluster.jobs).logs(night.name)
    with hangs_up(port, after=10**9, times=0) as line:
        head = Head(f"http://127.0.0.1:{line.port}")
        line.after, line.cuts_left, line.refusals_left = len(whole) // 2, 2, 1
        ended = follow(head, night.name, printed.append, notes.append, patience_s=30)
        assert (line.cuts_left, line.refusals_left) == (0, 0)
    assert "".join(printed) == whole
    assert ended.driver_exit_code == 0
    assert [note.partition(",")[0] for note in notes] == ["connection lost", "connection restored"]


def test_exit_codes_again_status_and_stop(cluster: RayHead, tmp_path: Path) -> None:
    """Its source is not there: 3, where Ray says 1. Then it is, and the run is stopped midway."""
    to = ("--address", cluster.jobs)
    source = tmp_path / "scans"
    config = write_config(tmp_path, source, ray={}, run_dir=str(tmp_path / "second"))
    first = cli(tmp_path, "submit", config, *to, "--follow")
    name = submission_id(str(tmp_path / "second"))
    assert first.code == 3, first.out + first.err
    assert "SourceUnavailable" in first.out
    assert f"{name} has failed with exit code 3" in first.out
    ended = here(submit.submit, config, asked(cluster.jobs))
    assert ended.code == 3, "it has ended, and is not started again"
    source.mkdir()
    many_pages(source, 60)
    with ThreadPoolExecutor() as two:
        both = list(two.map(lambda _: cli(tmp_path, "submit", config, *to, "--again"), range(2)))
    assert [one.code for one in both] == [0, 0], both
    told = "".join(one.out for one in both)
    assert told.count(f"submitted as {name}-2") == 1, "two at once start one job"
    assert re.search(f"{name}-2 is .*; nothing was submitted", told)
    deadline = time.monotonic() + 60
    while "60 files" not in (log := here(submit.logs, name + "-2", cluster.jobs, follow=False).out):
        assert time.monotonic() < deadline, log
        time.sleep(0.3)
    stopped = cli(tmp_path, "stop", tmp_path / "second", *to)
    assert stopped.code == 0
    assert f"{name}-2 was stopped" in stopped.out
    assert here(submit.status, f"{name}-2", cluster.jobs).code == 130
    listed = here(submit.status, None, cluster.jobs).out
    assert f"{name}-2" in listed
    assert "STOPPED" in listed


def test_an_unknown_run_is_not_found(cluster: RayHead) -> None:
    with pytest.raises(RunNotFound, match="knows no job of /no/such/run"):
        submit.logs(Console(), "/no/such/run", cluster.jobs, follow=False)


def test_a_head_that_cannot_be_reached_is_named_with_a_remedy(tmp_path: Path) -> None:
    ended = cli(tmp_path, "status", "--address", "http://127.0.0.1:1")
    assert ended.code == 7
    assert "no Ray job server at http://127.0.0.1:1" in ended.err
    assert "check --address" in ended.err


class _OlderRay(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps([] if "jobs" in self.path else {"version": "4", "ray_version": "2.9.0"})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_another_ray_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), _OlderRay)
    Thread(target=server.serve_forever, daemon=True).start()
    config, address = write_config(tmp_path, "/scans"), f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(ClusterUnreachable, match=r"runs Ray 2.9.0; Ray 2\.6\d") as caught:
        submit.submit(Console(), config, asked(address))
    assert "ray==2.9.0" in caught.value.remedy
    server.shutdown()


def test_a_dry_run_shows_everything_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path, "s3://bucket/scans", run_dir="s3://bucket/run")
    changes = {"overrides": ["fetch.dpi=150"], "env": ["HOME"]}
    ended = here(submit.submit, config, asked("http://127.0.0.1:1", dry_run=True, **changes))
    assert ended.code == 0
    for shown in (
        submission_id("s3://bucket/run"),
        "dpi: 150",
        "address: auto",
        "Nothing was sent",
    ):
        assert shown in ended.out
    assert os.environ["HOME"] not in ended.out
    assert "HOME: everybody with access to the dashboard can read its value" in ended.out


def test_a_secret_in_the_config_stops_it_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = "planted-key-of-the-config-41b7"
    vlm = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "extra_body": {"api_key": key}}
    config = write_config(tmp_path, "s3://bucket/scans", run_dir="s3://bucket/run", vlm=vlm)
    with pytest.raises(ConfigError) as caught:
        submit.submit(Console(), config, asked("http://127.0.0.1:1", dry_run=True))
    assert "vlm.extra_body.api_key" in caught.value.message
    assert f"--include {config}" in caught.value.remedy
    assert key not in caught.value.message + caught.value.remedy
    named = here(submit.submit, config, asked("", dry_run=True, include=[str(config)]))
    assert "api_key: (hidden)" in named.out
    assert "config.yaml (" in named.out
    assert key not in named.out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"overrides": ["run_dir=runs/here"]}, "relative"),
        ({"overrides": ["ocr.engin=openvino"]}, "did you mean 'engine'"),
        ({"env": ["NO_SUCH_VARIABLE"]}, "no such environment variable"),
        ({"address": "http://me:word@head:8265"}, "--address contains a password"),
        ({"address": "ray://head:10001"}, "no address of a job server"),
    ],
)
def test_impossible_submits_are_refused_before_anything_is_sent(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    config = write_config(tmp_path, tmp_path / "scans")
    with pytest.raises(ConfigError, match=told):
        submit.submit(Console(), config, asked(**{"address": "http://127.0.0.1:1"} | changes))


def test_every_run_directory_has_an_id_of_its_own() -> None:
    assert submission_id("/mnt/runs/Night 1/") == submission_id("/mnt/runs/Night 1")
    assert submission_id("/mnt/runs/Night 1").startswith("nightjar-night-1-")
    assert submission_id("/mnt/a/run") != submission_id("/mnt/b/run")
    assert submission_id("s3://bucket/run") != submission_id("s3://other/run")


@pytest.mark.long
def test_a_cluster_with_a_token_takes_the_right_one_only(tmp_path: Path) -> None:
    token = "0123456789abcdef" * 4
    with ray_head({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}) as head:
        to = ("--address", head.jobs)
        nowhere = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN_PATH": ""}
        none = cli(tmp_path, "status", *to, **nowhere)
        assert none.code == 7
        assert "asks for a token (401)" in none.err
        wrong = cli(tmp_path, "status", *to, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="f" * 64)
        assert wrong.code == 7
        assert "does not know this token (403)" in wrong.err
        assert "RAY_AUTH_TOKEN" in wrong.err
        source = tmp_path / "scans"
        source.mkdir()
        good_page(source)
        config = write_config(tmp_path, source, ray={})
        mine = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        right = cli(tmp_path, "submit", config, *to, "--follow", **mine)
        assert right.code == 0, right.out + right.err
        shown = cli(tmp_path, "status", *to, **mine)
        written = [p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()]
        assert token not in none.err + wrong.err + right.out + right.err + shown.out
        assert not [data for data in written if token.encode() in data]
