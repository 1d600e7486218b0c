"""Commands, files and objects named in infra/README.md exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY
from infra_files import INFRA, KUBERAY, kustomized

from jobs.cli import app

README = (INFRA / "README.md").read_text()
COMMANDS = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))


def known() -> set[str]:
    commands = {
        one.name or one.callback.__name__ for one in app.registered_commands if one.callback
    }
    return commands | {str(group.name) for group in app.registered_groups}


def test_every_command_of_nightjar_exists() -> None:
    named = set(re.findall(r"(?:^|`|\n)nightjar ([a-z]+)", README))
    assert {"submit", "status", "show", "report", "serve"} <= named
    assert named <= known()


def test_every_file_it_names_exists() -> None:
    named = set(re.findall(r"(?<!/)\binfra/[\w./-]+\w", README)) | set(
        re.findall(r"tests/[\w./-]+\w", README)
    )
    assert len(named) > 10
    for path in named:
        assert (REPOSITORY / path.replace("VARIANT", "base")).exists(), path


def test_every_part_it_applies_exists() -> None:
    for variant, part in re.findall(r"-k infra/kuberay/(\w+) -l nightjar/part=([\w-]+)", COMMANDS):
        objects = kustomized(variant.replace("VARIANT", "base"))
        parts = {one["metadata"].get("labels", {}).get("nightjar/part") for one in objects}
        assert part in parts


@pytest.mark.parametrize("variant", ["base", "kind"])
def test_every_secret_that_a_pod_wants_is_made_there(variant: str) -> None:
    made = set(re.findall(r"create secret generic ([\w-]+)", COMMANDS))
    assert secrets(list(kustomized(variant))) <= made


def secrets(node: Any) -> set[str]:
    if isinstance(node, list):
        return {name for one in node for name in secrets(one)}
    if not isinstance(node, dict):
        return set()
    here = {node[key]["name"] for key in ("secretRef", "secretKeyRef") if key in node}
    here |= {node["secretName"]} if "secretName" in node else set()
    return here | {name for one in node.values() for name in secrets(one)}


def test_it_names_the_release_of_kuberay_that_was_looked_at() -> None:
    assert set(re.findall(r"kuberay-operator --version (\S+)", README)) == {"1.7.0"}
    (account,) = yaml.safe_load_all((KUBERAY / "base" / "service-account.yaml").read_text())
    assert f"--name {account['metadata']['name']} " in README
