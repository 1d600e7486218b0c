"""The Kubernetes manifests: known fields only, configs that can be planned, no open access."""

from __future__ import annotations

import copy
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY
from infra_files import (
    INFRA,
    KUBERAY,
    VARIANTS,
    clusters,
    documents,
    kustomized,
    locked,
    manifest_files,
    pods,
    ray_pods,
)
from kube_shapes import read
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from actors.contract import Pool
from pipelines.engine.sizes.pools import fitted
from pipelines.engine.sizes.room import Room
from pipelines.flow import Flow
from pipelines.job import load_job
from pipelines.serving.settings import ServeVlmConfig

#: Where the images keep the repository's configs (infra/docker).
IN_THE_IMAGE = "/opt/nightjar/"
IMAGE_TAG = f"0.1.0-ray{locked('ray')}"


def objects(kind: str, variant: str = "base") -> list[dict[str, Any]]:
    return [one for one in kustomized(variant) if one["kind"] == kind]


@cache
def planned(entrypoint: str) -> tuple[Flow, Any]:
    """The flow and config of a job's command. Fails on a key or file that does not exist."""
    command = shlex.split(entrypoint)
    assert command[:2] == ["nightjar", "run"]
    assert command[2].startswith(IN_THE_IMAGE)
    options = command[3:]
    overrides = [value for option, value in pairwise(options) if option == "--set"]
    assert len(options) == 2 * len(overrides), "only --set is known here"
    job, config = load_job(REPOSITORY / command[2].removeprefix(IN_THE_IMAGE), overrides)
    return job.flow(config), config


@pytest.mark.parametrize("path", manifest_files(), ids=lambda p: str(p.relative_to(KUBERAY)))
def test_a_manifest_has_no_unknown_field(path: Path) -> None:
    for document in documents(path):
        assert read(document).kind == document["kind"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_no_unknown_field(variant: str) -> None:
    for one in kustomized(variant):
        assert read(one).metadata.namespace in (None, "nightjar")


@pytest.mark.parametrize(
    "place",
    [
        ("spec", "backOffLimit"),
        ("spec", "rayClusterSpec", "enableInTreeAutoScaling"),
        ("spec", "rayClusterSpec", "workerGroupSpecs", 0, "minReplica"),
        ("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "nodeselector"),
        ("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0, "envfrom"),
    ],
    ids=lambda place: str(place[-1]),
)
def test_a_mistyped_field_is_refused(place: tuple[Any, ...]) -> None:
    job = copy.deepcopy(documents(KUBERAY / "base" / "rayjob-ocr-backfill.yaml")[0])
    parent = job
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = 1
    with pytest.raises(ValidationError, match=str(place[-1])):
        read(job)


def test_each_main_job_has_its_rayjob() -> None:
    jobs = [planned(one["spec"]["entrypoint"])[1].job for one in objects("RayJob")]
    assert sorted(jobs) == ["autolabel", "ocr_backfill"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_command_of_every_job_plans_with_state_in_object_storage(variant: str) -> None:
    for one in objects("RayJob", variant):
        _, config = planned(one["spec"]["entrypoint"])
        # Without an address the driver would start a Ray of its own in the head's container.
        assert config.ray.address == "auto"
        # A retry of KubeRay comes with a new cluster: what lies on the old one's disks is gone.
        assert config.run_dir.startswith("s3://")
        assert one["spec"]["backoffLimit"] > 0
        # A spot node may take 10 minutes and its image a few more.
        assert config.ray.start_timeout_s >= 900


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_command_survives_the_two_shells_it_is_passed_through(variant: str) -> None:
    for one in objects("RayJob", variant):
        entrypoint = one["spec"]["entrypoint"]
        assert shlex.join(entrypoint.split()) == entrypoint


def _needs(pool: Pool, workers: int) -> tuple[float, float]:
    return pool.num_cpus * workers, pool.gpus * workers


def _room(cluster: dict[str, Any], replicas: str) -> tuple[float, float]:
    cpus = gpus = 0.0
    for group in cluster["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        cpus += group[replicas] * float(limits["cpu"])
        gpus += group[replicas] * float(limits.get("nvidia.com/gpu", 0))
    return cpus, gpus


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_pools_of_a_job_fit_its_cluster_at_full_size(variant: str) -> None:
    """An open size is taken from the cluster as it is at the start: that of an unscaled one."""
    for one in objects("RayJob", variant):
        cpus, gpus = _room(one["spec"]["rayClusterSpec"], "maxReplicas")
        flow = fitted(planned(one["spec"]["entrypoint"])[0], Room(cpus, gpus, grows=True))
        pools = [crew[0].pool for crew in flow.crews()]
        assert all(pool.max_size is not None for pool in pools), "give the pool a max_size"
        needs = [_needs(pool, pool.max_size or 0) for pool in pools]
        assert sum(cpu for cpu, _ in needs) <= cpus
        assert sum(gpu for _, gpu in needs) <= gpus
        assert sum(cpu for cpu, _ in needs) > cpus / 2, "half of the cluster would idle"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_clusters_run_the_ray_of_the_lock_from_pinned_images(variant: str) -> None:
    for name, cluster in clusters(variant):
        assert cluster["rayVersion"] == locked("ray"), name
    for name, pod in pods(variant):
        for container in pod["containers"]:
            image, _, tag = container["image"].rpartition(":")
            ours = image.rpartition("/")[2] in ("nightjar-cpu", "nightjar-gpu")
            assert tag == IMAGE_TAG if ours else tag.startswith("RELEASE."), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_container_with_a_gpu_runs_the_gpu_image_and_no_other_does(variant: str) -> None:
    for name, pod in pods(variant):
        for container in pod["containers"]:
            given = "nvidia.com/gpu" in container["resources"].get("limits", {})
            assert ("nightjar-gpu:" in container["image"]) == given, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_ray_cluster_answers_without_the_token(variant: str) -> None:
    for name, cluster in clusters(variant):
        assert cluster["authOptions"] == {"mode": "token", "secretName": "nightjar-ray-token"}, name
        for pod in ray_pods(cluster):
            named = {v["name"] for c in pod["containers"] for v in c.get("env", ())}
            assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & named, "KubeRay sets them"


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_can_be_reached_from_outside_the_cluster(variant: str) -> None:
    (policy,) = objects("NetworkPolicy", variant)
    assert policy["spec"]["podSelector"] == {}  # every pod of the namespace
    for rule in policy["spec"]["ingress"]:
        assert rule["from"]
        for peer in rule["from"]:
            own = peer == {"podSelector": {}}
            chosen = peer.get("podSelector") or peer.get("namespaceSelector")
            assert own or (chosen and rule["ports"]), "others come in by named ports only"
    for service in objects("Service", variant):
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
    for name, pod in pods(variant):
        assert not pod.get("hostNetwork"), name
        assert not any("hostPort" in p for c in pod["containers"] for p in c.get("ports", ())), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_do_not_run_as_root(variant: str) -> None:
    for name, pod in pods(variant):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name


def test_no_manifest_holds_a_secret() -> None:
    for path in sorted(KUBERAY.rglob("*.yaml")):
        for document in documents(path):
            assert document["kind"] != "Secret", path
    for variant in VARIANTS:
        for name, pod in pods(variant):
            for container in pod["containers"]:
                assert all("valueFrom" in v for v in container.get("env", ())), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_ray_pods_reach_s3_by_their_account_or_by_the_secret(variant: str) -> None:
    (account,) = objects("ServiceAccount", variant)
    for name, cluster in clusters(variant):
        for pod in ray_pods(cluster):
            assert pod["serviceAccountName"] == account["metadata"]["name"], name
            (secret,) = pod["containers"][0]["envFrom"]
            assert secret == {"secretRef": {"name": "nightjar-s3", "optional": True}}, name


def test_heads_stay_off_spot_nodes_and_jobs_work_on_them() -> None:
    for _, cluster in clusters("base"):
        (term,) = cluster["headGroupSpec"]["template"]["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [
            {"key": "nightjar/capacity", "operator": "NotIn", "values": ["spot"]}
        ]
    for job in objects("RayJob"):
        for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            assert pod["nodeSelector"] == {"nightjar/capacity": "spot"}
            assert pod["tolerations"][0]["key"] == "nightjar/capacity"


@pytest.mark.parametrize("variant", VARIANTS)
def test_clusters_that_scale_have_what_the_autoscaler_needs(variant: str) -> None:
    for name, cluster in clusters(variant):
        if cluster.get("enableInTreeAutoscaling"):
            assert cluster["autoscalerOptions"]["version"] == "v2", name
            head = cluster["headGroupSpec"]["template"]["spec"]
            assert head["automountServiceAccountToken"] is True, "it adds and removes pods"
            assert all("restartPolicy" not in pod for pod in ray_pods(cluster)), "v2 takes Never"


def test_jobs_wait_in_the_queue_that_is_defined() -> None:
    queue = {one["kind"]: one for one in documents(KUBERAY / "kueue" / "queues.yaml")}
    local, whole = queue["LocalQueue"], queue["ClusterQueue"]
    assert local["spec"]["clusterQueue"] == whole["metadata"]["name"]
    for job in objects("RayJob"):
        labels, notes = job["metadata"]["labels"], job["metadata"]["annotations"]
        assert labels["kueue.x-k8s.io/queue-name"] == local["metadata"]["name"]
        assert notes["kueue.x-k8s.io/elastic-job"] == "true", "Kueue refuses autoscaling without"
        assert job["spec"]["shutdownAfterJobFinishes"], "so does it a cluster that stays"


def test_the_queue_has_room_for_a_night_of_each_kind() -> None:
    whole = {one["kind"]: one for one in documents(KUBERAY / "kueue" / "queues.yaml")}
    (group,) = whole["ClusterQueue"]["spec"]["resourceGroups"]
    quota = {one["name"]: one["nominalQuota"] for one in group["flavors"][0]["resources"]}
    room = [_room(job["spec"]["rayClusterSpec"], "maxReplicas") for job in objects("RayJob")]
    assert sum(cpus + 6 for cpus, _ in room) <= float(quota["cpu"])  # 6: head and submitter
    assert sum(gpus for _, gpus in room) <= float(quota["nvidia.com/gpu"])


def test_the_reader_serves_what_the_job_asks_for() -> None:
    (service,) = objects("RayService")
    deploy = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    (application,) = deploy.applications
    reader = ServeVlmConfig.model_validate(application.args)
    (job,) = (one for one in objects("RayJob") if "ocr" in one["metadata"]["name"])
    asked = planned(job["spec"]["entrypoint"])[1].vlm
    assert asked.model == reader.name
    assert asked.base_url == (
        f"http://{service['metadata']['name']}-serve-svc:{deploy.http_options.port}/v1"
    )
    assert asked.is_near()  # a name of this cluster: plain http is allowed to it
    cpus, gpus = _room(service["spec"]["rayClusterConfig"], "maxReplicas")
    assert reader.replicas * reader.num_cpus <= cpus
    assert reader.replicas * reader.num_gpus <= gpus


def test_reader_and_job_share_the_token_of_one_secret() -> None:
    (job,) = (one for one in objects("RayJob") if "ocr" in one["metadata"]["name"])
    asked = planned(job["spec"]["entrypoint"])[1].vlm
    (service,) = objects("RayService")
    spec = service["spec"]["rayClusterConfig"]
    for cluster in (spec, job["spec"]["rayClusterSpec"]):
        for pod in ray_pods(cluster):
            (variable,) = pod["containers"][0]["env"]
            assert variable["name"] == asked.api_key_env == ServeVlmConfig(model="m").token_env
            assert variable["valueFrom"]["secretKeyRef"]["name"] == "nightjar-vlm"


def test_the_reader_refuses_to_be_built_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.errors import ConfigError
    from pipelines.serving import vlm_endpoint

    (service,) = objects("RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]
    module, _, name = config["import_path"].partition(":")
    assert module == vlm_endpoint.__name__
    monkeypatch.delenv("NIGHTJAR_VLM_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="NIGHTJAR_VLM_TOKEN"):
        getattr(vlm_endpoint, name)(config["args"])
    monkeypatch.setenv("NIGHTJAR_VLM_TOKEN", "a-long-random-value")
    assert type(getattr(vlm_endpoint, name)(config["args"])).__name__ == "Application"


def test_the_config_of_the_bare_reader_is_valid() -> None:
    raw = yaml.safe_load((INFRA / "serve" / "vlm.yaml").read_text())
    assert ServeVlmConfig.model_validate(raw).host == "127.0.0.1"
