"""The Dockerfiles and the `ray up` file: pinned, locked, without root and without secrets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator
from conftest import REPOSITORY
from infra_files import INFRA, locked
from ray.autoscaler._private.util import prepare_config, validate_config

DOCKERFILES = ("Dockerfile.cpu", "Dockerfile.gpu")
#: Names that would hold a secret.
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)


def instructions(name: str) -> list[tuple[str, str]]:
    """(instruction, rest) of each line, with what it continues and without comments."""
    text = re.sub(r"^\s*#.*\n", "", (INFRA / "docker" / name).read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def rest(name: str, instruction: str) -> list[str]:
    return [text for one, text in instructions(name) if one == instruction]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_starts_from_a_pinned_python_of_our_version(name: str) -> None:
    (first, *later) = rest(name, "FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm AS base", first)
    stages = ["base"]
    for stage in later:
        before, _, after = stage.split()
        assert before in stages
        stages.append(after)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_packages_come_at_the_versions_of_the_lock_by_the_uv_of_the_makefile(name: str) -> None:
    runs = " ".join(rest(name, "RUN"))
    makefile = (REPOSITORY / "Makefile").read_text()
    (uv,) = re.findall(r"^UV := (\S+)$", makefile, re.MULTILINE)
    assert re.findall(r"pip install --no-cache-dir (\S+)", runs) == [f"uv=={uv}"]
    installs = re.findall(r"uv pip install (.+?)(?:&&|\|\||$)", runs)
    for install in installs:
        pinned = "--constraint requirements.lock" in install or "--no-deps" in install
        assert pinned, install
    assert "--override infra/lock-overrides.txt" in runs


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_does_not_run_as_root_and_bakes_no_secret(name: str) -> None:
    assert rest(name, "USER") == ["1000:1000"]
    after_user = [one for one, _ in instructions(name)]
    assert not {"RUN", "COPY"} & set(after_user[after_user.index("USER") :])
    settings = " ".join(rest(name, "ENV") + rest(name, "ARG"))
    assert not any(SECRET.search(one) for one in re.findall(r"([A-Za-z_]+)=", settings))
    assert "RAY_AUTH_MODE=token" in settings
    assert not rest(name, "ADD"), "COPY says what it takes"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_copied_paths_exist_and_are_in_dockerignore(name: str) -> None:
    allowed = [
        line[1:].split("*")[0].rstrip("/")
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for copied in rest(name, "COPY"):
        for source in copied.split()[:-1]:
            path = source.rstrip("/")
            assert (REPOSITORY / path).exists(), path
            assert path in allowed, f"{path} is not named in .dockerignore"


def test_the_ignore_file_keeps_everything_out_that_is_not_named() -> None:
    lines = [
        line
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert not kept & {".git", "runs", "tests", ".env", "infra", "."}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_environments_of_an_image_are_those_with_a_lock(name: str) -> None:
    (engines,) = re.findall(r'ENGINES="([^"]+)"', " ".join(rest(name, "ARG")))
    locks = {path.stem: path for path in (INFRA / "engines").glob("*.lock")}
    assert set(engines.split()) == set(locks)
    for engine, lock in locks.items():
        (ray,) = re.findall(r"^ray==(\S+)", lock.read_text(), re.MULTILINE)
        assert ray == locked("ray"), f"{engine}: a worker of another Ray cannot join"


def test_both_images_are_made_by_the_same_steps() -> None:
    """They differ in PyTorch's builds, in a compiler, and in what the NVIDIA runtime is told."""
    one, other = (
        [(kind, re.sub(r"\s+", " ", text)) for kind, text in instructions(name)]
        for name in DOCKERFILES
    )
    only = [f"{kind} {text}" for kind, text in one if (kind, text) not in other]
    more = [f"{kind} {text}" for kind, text in other if (kind, text) not in one]
    assert [line.replace('--torch-backend "$TORCH_BACKEND" ', "") for line in only] == [
        more[0].replace("gcc libc6-dev ", ""),
        'ARG TORCH_BACKEND="cpu"',
        *more[1:3],
    ]
    assert more[3:] == ["ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility"]


@pytest.fixture(scope="module")
def ec2() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((INFRA / "aws" / "cluster.yaml").read_text())
    return config


def test_the_ec2_cluster_is_valid_to_ray_up(ec2: dict[str, Any]) -> None:
    validate_config(prepare_config(ec2))
    with pytest.raises(Exception, match="idle_timeout_minute"):
        validate_config(prepare_config({**ec2, "idle_timeout_minute": 5}))


def test_every_node_of_it_is_valid_to_ec2(ec2: dict[str, Any]) -> None:
    """By botocore's own model of RunInstances, which refuses names it does not know."""
    shape = get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    for name, node in ec2["available_node_types"].items():
        asked = {**node["node_config"], "MinCount": 1, "MaxCount": 1}
        report = ParamValidator().validate(asked, shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"


def test_its_workers_are_spot_and_its_head_is_not(ec2: dict[str, Any]) -> None:
    for name, node in ec2["available_node_types"].items():
        market = node["node_config"].get("InstanceMarketOptions", {}).get("MarketType")
        assert (market is None) == (name == ec2["head_node_type"]), name
    workers = [n for n in ec2["available_node_types"].values() if "max_workers" in n]
    assert sum(node["max_workers"] for node in workers) <= ec2["max_workers"]


def test_its_images_are_pinned_and_its_ray_asks_for_the_token(ec2: dict[str, Any]) -> None:
    docker = ec2["docker"]
    images = [docker["head_image"], docker["worker_image"]]
    images += [
        n["docker"]["worker_image"] for n in ec2["available_node_types"].values() if "docker" in n
    ]
    assert {image.rpartition(":")[2] for image in images} == {f"0.1.0-ray{locked('ray')}"}
    assert "--env RAY_AUTH_MODE=token" in docker["run_options"]
    (path,) = re.findall(r"RAY_AUTH_TOKEN_PATH=(\S+)", " ".join(docker["run_options"]))
    assert str(Path(path).parent) in ec2["file_mounts"]
    (start,) = (c for c in ec2["head_start_ray_commands"] if "--head" in c)
    assert "--dashboard-host=127.0.0.1" in start  # reached through `ray dashboard`, by ssh


def test_the_tags_carry_the_version_of_the_project() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    assert 'version = "0.1.0"' in project, "the image tags in infra/ say 0.1.0"
