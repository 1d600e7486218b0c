"""The manifests against KubeRay's published CRDs (1.7.0), with unknown fields refused.

The CRDs are 3.3 MB of another project's text and are not kept here. Put the three files
`ray-operator/config/crd/bases/ray.io_{rayjobs,rayclusters,rayservices}.yaml` of KubeRay v1.7.0
(commit 59d663aeec13760646da3db9c1cf8cfe883e30b7, Apache-2.0) into ../shared/crds or a folder that
NIGHTJAR_CRDS names. What runs everywhere is tests/infra/test_manifests.py.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import REPOSITORY
from infra_files import RAY_KINDS, VARIANTS, kustomized

FOLDER = Path(os.environ.get("NIGHTJAR_CRDS") or REPOSITORY.parent / "shared" / "crds")
#: Kind -> (file, its SHA-256 at v1.7.0).
CRDS = {
    "RayJob": (
        "ray.io_rayjobs.yaml",
        "01a5cf3b17c1769fda44af7e82debcd98722f0c27b9ab84d084681c6649121f5",
    ),
    "RayCluster": (
        "ray.io_rayclusters.yaml",
        "c44704442eef0c6721ad40c1d66782c8bd3fdab9d3344306a5820910a679baa1",
    ),
    "RayService": (
        "ray.io_rayservices.yaml",
        "0a8fc325e6e22b9231c1f282b309555e2ecf94227ca20a03df3d1d9a403907ab",
    ),
}

pytestmark = pytest.mark.skipif(
    not (FOLDER / CRDS["RayJob"][0]).exists(),
    reason=f"no CRDs of KubeRay 1.7.0 in {FOLDER}; see the head of tests/infra/test_crds.py",
)


def strict(schema: Any) -> Any:
    """The schema with unknown fields refused wherever it names the known ones.

    An int-or-string loses its `anyOf`, which JSON Schema would judge beside `type`.
    """
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    """Kind -> strict schema of its version v1; parsing takes 0.4 s a file."""
    made = {}
    for kind, (name, digest) in CRDS.items():
        text = (FOLDER / name).read_bytes()
        assert hashlib.sha256(text).hexdigest() == digest, f"{name} is not that of KubeRay 1.7.0"
        crd = yaml.load(text, Loader=yaml.CSafeLoader)
        (version,) = (one for one in crd["spec"]["versions"] if one["name"] == "v1")
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"]["metadata"] = {"type": "object"}  # the API server's, not the CRD's
        made[kind] = jsonschema.Draft202012Validator(strict(schema))
    return made


def ray_objects(variant: str) -> Iterator[dict[str, Any]]:
    return (one for one in kustomized(variant) if one["kind"] in RAY_KINDS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_crds_know_every_field(variant: str, schemas: dict[str, Any]) -> None:
    for one in ray_objects(variant):
        faults = [
            f"{'.'.join(map(str, fault.absolute_path))}: {fault.message[:200]}"
            for fault in schemas[one["kind"]].iter_errors(one)
        ]
        assert not faults, "\n".join(faults)


def test_a_mistyped_field_is_refused_by_the_crd(schemas: dict[str, Any]) -> None:
    (job, *_) = (one for one in ray_objects("base") if one["kind"] == "RayJob")
    spec = {**job["spec"], "backOffLimit": 1}
    (fault,) = schemas["RayJob"].iter_errors({**job, "spec": spec})
    assert "backOffLimit" in fault.message
