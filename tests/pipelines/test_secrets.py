"""What looks like a secret, and what a run's record keeps of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from bad_files import good_page
from conftest import REPOSITORY, write_config

from pipelines.errors import RunConflict
from pipelines.job import load_job
from pipelines.run import Run
from pipelines.secrets import masked, sealed, secret_in, secret_keys

KEY = "planted-key-5d71"
#: Made up of two parts each, so that this file may be submitted.
SECRETS = {
    "a private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "an AWS access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "an AWS secret key": "aws_secret_access_key"
    + " = "
    + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "a GitHub token": "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345",
    "a Hugging Face token": "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "an API key (sk-...)": "sk-" + "proj-0123456789abcdefghijABCDEFGHIJ",
    "a Google API key": "AIza" + "SyA0123456789abcdefghijklmnopqrstuv",
    "an Authorization header": "Authorization: Bear" + "er abcdefghijklmnopqrst0123",
    "a signed URL": "https://a.blob.core.windows.net/c/x?se=1" + "&sig=" + "a%2B" * 12,
}


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_is_known_by_its_form(what: str) -> None:
    found = secret_in(f"first line\nvalue: {SECRETS[what]}\n")
    assert found is not None
    assert (found.what, found.line) == (what, 2)
    hidden = masked({"note": SECRETS[what]})["note"]
    assert secret_in(hidden) is None
    assert hidden.endswith("(hidden)")


def test_keys_headers_and_addresses_are_masked_and_classes_are_not() -> None:
    config = {
        "vlm": {
            "api_key_env": "VLM_KEY",
            "extra_body": {
                "top_k": 1,
                "metadata": {"X-Auth-Token": KEY, "credentials": {"user": KEY, "more": [KEY]}},
            },
        },
        "source": {"path": f"https://me:{KEY}@host/x"},
        "detector": {"ontology": {"classes": {"key": {"prompts": ["a key"]}, "cookie": "cookie"}}},
    }
    hidden = masked(config)
    assert KEY not in json.dumps(hidden)
    assert hidden["detector"] == config["detector"], "the classes of the ontology are no secrets"
    assert hidden["vlm"]["api_key_env"] == "VLM_KEY"
    assert hidden["vlm"]["extra_body"]["top_k"] == 1
    assert hidden["source"]["path"] == "https://(hidden)@host/x"
    assert masked("abfss://container@account.dfs.core.windows.net/x").count("@") == 1
    assert secret_keys(config) == [
        "vlm.extra_body.metadata.X-Auth-Token",
        "vlm.extra_body.metadata.credentials",
        "source.path",
    ]


def test_a_seal_shows_a_change_for_one_salt_only() -> None:
    one, other = {"api_key": KEY}, {"api_key": KEY + "2"}
    assert sealed(one, "salt") == sealed(sealed(one, "salt"), "other salt"), "sealed once"
    assert sealed(one, "salt") != sealed(other, "salt")
    assert sealed(one, "salt") != sealed(one, "other salt")
    assert masked(sealed(one, "salt")) == masked(one)
    url = {"base": f"http://u:{KEY}@host"}
    assert sealed(sealed(url, "salt"), "salt") == sealed(url, "salt")
    assert masked(sealed(url, "salt")) == {"base": "http://(hidden)@host"}


def test_the_configs_of_this_repository_hold_no_secret() -> None:
    for path in (REPOSITORY / "configs").glob("*/*.yaml"):
        config = yaml.safe_load(path.read_text())
        assert masked(config) == config, path


def _run(folder: Path, key: str) -> Run:
    body = {"metadata": {"api_key": key}}
    vlm = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "extra_body": body}
    return Run.of(*load_job(write_config(folder, folder / "scans", vlm=vlm)))


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    good_page(tmp_path / "scans")
    with _run(tmp_path, KEY).opened() as run:
        run.plan()
    return tmp_path


def _record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run" / "run.json").read_text())
    return record


def test_the_record_of_a_run_holds_no_key_and_the_run_goes_on(begun: Path) -> None:
    assert KEY not in (begun / "run" / "run.json").read_text()
    assert _record(begun)["config"]["vlm"]["extra_body"]["metadata"]["api_key"].startswith(
        "(hidden:"
    )
    before = _record(begun)
    with _run(begun, KEY).opened():
        assert _record(begun) == before


def test_another_key_is_another_config_and_neither_is_shown(begun: Path) -> None:
    with pytest.raises(RunConflict) as caught, _run(begun, "another-9e02").opened():
        pass
    assert "vlm.extra_body" in caught.value.message
    assert KEY not in caught.value.message
    assert "another-9e02" not in caught.value.message


def test_a_record_from_before_is_compared_as_it_stands_then_masked(begun: Path) -> None:
    old = _record(begun)
    del old["salt"]
    for part in (old["config"]["vlm"]["extra_body"], old["result_keys"]["vlm.extra_body"]):
        part["metadata"]["api_key"] = KEY
    (begun / "run" / "run.json").write_text(json.dumps(old))
    with pytest.raises(RunConflict) as caught, _run(begun, "another-9e02").opened():
        pass
    assert KEY not in caught.value.message
    with _run(begun, KEY).opened():
        assert KEY not in (begun / "run" / "run.json").read_text()
    with _run(begun, KEY).opened():
        assert "salt" in _record(begun)
