"""The real Serve app on loopback, through the command, with a tiny model of the real class."""

from __future__ import annotations

import base64
import io
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import yaml
from bad_files import SAMPLES
from conftest import nightjar_argv
from PIL import Image
from tiny_qwen import tiny_qwen

from actors.escalation.vlm import Vlm, VlmConfig
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from pipelines.decisions.routing import RoutingConfig
from pipelines.decisions.settling import settle_second, weigh_page

TOKEN = "a-token-for-the-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    port = free_port()
    config = {
        "model": str(tiny_qwen(folder / "model")),
        "name": "reader",
        "port": port,
        "num_cpus": 0.1,
        "max_batch": 4,
        "batch_wait_s": 0.2,
        "max_tokens": 16,
        "max_pixels": 1_000_000,
        "max_body_mb": 1,
    }
    (folder / "vlm.yaml").write_text(yaml.safe_dump(config))
    log = (folder / "log.txt").open("wb")
    process = subprocess.Popen(
        nightjar_argv("serve", "vlm", folder / "vlm.yaml"),
        stdout=log,
        stderr=log,
        env=os.environ | {"NIGHTJAR_VLM_TOKEN": TOKEN},
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 500
    while f"{address}/v1" not in (folder / "log.txt").read_text():
        assert process.poll() is None, (folder / "log.txt").read_text()[-3000:]
        assert time.monotonic() < deadline, (folder / "log.txt").read_text()[-3000:]
        time.sleep(0.5)
    yield address
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 130
    assert TOKEN not in (folder / "log.txt").read_text()


def data_url(size: tuple[int, int] = (90, 60)) -> str:
    buffer = io.BytesIO()
    Image.new("L", size, 200).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def ask(url: str, image: str | None = None, /, **changes: Any) -> httpx.Response:
    picture = {"type": "image_url", "image_url": {"url": image or data_url()}}
    content = [picture, {"type": "text", "text": "Transcribe."}]
    body = {"model": "reader", "messages": [{"role": "user", "content": content}]} | changes
    head = {"authorization": f"Bearer {TOKEN}"}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=head, timeout=300)


def test_it_answers_in_openai_s_form(url: str) -> None:
    answer = ask(url, max_tokens=5).json()
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length", "random weights say no end"
    assert choice["message"]["role"] == "assistant"
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["usage"]["prompt_tokens"] > 10
    assert answer["model"] == "reader"


def test_requests_at_once_each_get_their_own_answer(url: str) -> None:
    sizes = [(90, 60), (60, 90), (200, 40), (120, 120), (300, 200), (30, 30)]
    alone = [ask(url, data_url(size)).json()["choices"][0]["message"]["content"] for size in sizes]
    barrier = threading.Barrier(len(sizes))

    def together(size: tuple[int, int]) -> str:
        barrier.wait()
        answer: str = ask(url, data_url(size)).json()["choices"][0]["message"]["content"]
        return answer

    with ThreadPoolExecutor(len(sizes)) as pool:
        assert list(pool.map(together, sizes)) == alone


def test_the_limit_of_the_config_is_above_that_of_the_request(url: str) -> None:
    assert ask(url, max_tokens=9999).json()["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize(
    ("image", "changes", "status", "message"),
    [
        (None, {"model": "gpt"}, 404, "no model 'gpt'; served: 'reader'"),
        (None, {"stream": True}, 400, "streaming is not supported"),
        (None, {"messages": []}, 400, "invalid chat request"),
        ("http://169.254.169.254/latest", {}, 400, "must be data URLs"),
        ("data:image/png;base64,AAAA", {}, 400, "cannot be opened"),
        (data_url((2000, 1000)), {}, 400, "too many pixels"),
        ("data:image/png;base64," + "A" * 1_100_000, {}, 413, "larger than 1 MB"),
    ],
)
def test_each_bad_request_is_told_what_is_wrong(
    url: str, image: str | None, changes: dict[str, Any], status: int, message: str
) -> None:
    answer = ask(url, image, **changes)
    assert (answer.status_code, message in answer.json()["error"]["message"]) == (status, True)


def test_gibberish_ends_in_review_beside_the_first_reading(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model has random weights; the first reader and its client are the real ones."""
    monkeypatch.setenv("READER_KEY", TOKEN)
    image = (SAMPLES / "receipt_garage_faded.jpg").read_bytes()
    read = RapidOcr(RapidOcrConfig())(pa.table({"image": pa.array([image], pa.binary())}))
    (page,) = read.to_pylist()
    unread = dict.fromkeys(["native_text", "native_lines", "fetch_failure"])
    page |= unread | weigh_page(page | unread, RoutingConfig())
    assert page["doubts"], "its reader missed whole lines"
    config = VlmConfig(base_url=f"{url}/v1", model="reader", api_key_env="READER_KEY")
    rows = pa.Table.from_pylist([page], schema=pa.schema([*Vlm.reads]))
    actor = Vlm(config.model_copy(update={"max_side": 300}))
    page |= actor(rows).to_pylist()[0]
    actor.close()
    assert page["vlm_usage"]["completion_tokens"] == 16
    settled = settle_second(page, RoutingConfig())
    assert settled["outcome"] == "review"
    assert "vlm_truncated" in settled["reasons"]
    assert settled["text_source"].startswith("rapid_ocr")


def test_a_second_server_on_the_port_is_refused(url: str, nightjar, tmp_path: Path) -> None:
    """Ray Serve would share it."""
    port = int(url.rpartition(":")[2])
    (tmp_path / "vlm.yaml").write_text(yaml.safe_dump({"model": "m", "port": port}))
    ended = nightjar("serve", "vlm", "vlm.yaml")
    assert ended.code == 2
    assert f"127.0.0.1:{port} is in use" in ended.err


def test_without_the_token_nobody_is_answered(url: str) -> None:
    for path, body in (("/v1/models", None), ("/v1/chat/completions", {})):
        call = httpx.post if body is not None else httpx.get
        answer = call(url + path, headers={"authorization": "Bearer no"}, timeout=30)
        assert answer.status_code == 401
    head = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{url}/v1/models", headers=head).json()["data"][0]["id"] == "reader"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": "m", "host": "0.0.0.0"}, "NIGHTJAR_VLM_TOKEN is not set"),
        ({"model": "m", "host": "0.0.0.0", "backend": "vllm"}, "does not check tokens"),
        ({"model": "m", "prot": 1}, "did you mean 'port'?"),
    ],
)
def test_an_open_door_is_refused(nightjar, tmp_path: Path, config, message: str) -> None:
    (tmp_path / "vlm.yaml").write_text(yaml.safe_dump(config))
    ended = nightjar("serve", "vlm", "vlm.yaml")
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
