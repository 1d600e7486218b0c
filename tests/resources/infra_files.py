"""Everything in `infra/` that a machine reads, parsed: manifests, as written and as kustomized."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

INFRA = REPOSITORY / "infra"
KUBERAY = INFRA / "kuberay"
VARIANTS = ("base", "eks", "gke", "kind")
RAY_KINDS = ("RayJob", "RayCluster", "RayService")


def locked(package: str) -> str:
    """The version of a package in requirements.lock."""
    lock = (REPOSITORY / "requirements.lock").read_text()
    found = re.search(rf"^{re.escape(package)}==(\S+)", lock, re.MULTILINE)
    assert found, f"{package} is not locked"
    return found[1]


def manifest_files() -> list[Path]:
    """Every file of `infra/kuberay` that holds whole objects."""
    return sorted(p for p in KUBERAY.rglob("*.yaml") if p.name != "kustomization.yaml")


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


@cache
def kustomized(variant: str) -> tuple[dict[str, Any], ...]:
    """The objects of a variant: `kubectl kustomize`, which needs no cluster.

    Without kubectl base's own files as they are; a test of another variant is skipped.
    """
    if not (kubectl := shutil.which("kubectl")):
        if variant != "base":
            pytest.skip(f"no kubectl to render {variant}")
        files = sorted((KUBERAY / "base").glob("*.yaml"))
        return tuple(one for path in files for one in documents(path) if "metadata" in one)
    done = subprocess.run(
        [kubectl, "kustomize", KUBERAY / variant], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def clusters(variant: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of its object, RayCluster spec) of everything that makes a Ray cluster."""
    for one in kustomized(variant):
        if one["kind"] in RAY_KINDS:
            spec = one["spec"]
            cluster = spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec
            yield f"{one['kind']} {one['metadata']['name']}", cluster


def ray_pods(cluster: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pod specs of the head and of every worker group."""
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def pods(variant: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of its object, pod spec) of every pod that a variant starts."""
    for name, cluster in clusters(variant):
        for pod in ray_pods(cluster):
            yield name, pod
    for one in kustomized(variant):
        if one["kind"] in ("Deployment", "Job"):
            yield f"{one['kind']} {one['metadata']['name']}", one["spec"]["template"]["spec"]
