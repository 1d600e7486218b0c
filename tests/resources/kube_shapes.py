"""The fields of Kubernetes objects that `infra/` uses; any other field is refused.

Written by hand for KubeRay 1.7.0 (ray.io/v1), Kubernetes 1.34, Kueue 0.19 (v1beta2), Prometheus's
operator 0.93. An API server prunes a mistyped field without a word; here it is an error. A manifest
that needs a field for the first time adds it here, after a look at the API's reference; where the
CRDs themselves are at hand, tests/infra/test_crds.py judges by them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from kube_pods import Labels, Name, PodTemplate, Quantity, Requirement, Resources, Strict
from pydantic import Field, TypeAdapter


class Meta(Strict):
    # 47 characters: KubeRay adds to the names of the clusters and services it makes.
    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=47)]
    namespace: Name | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: Labels = Field(default_factory=dict)


class AuthOptions(Strict):
    mode: Literal["disabled", "token"]
    secretName: Name


class AutoscalerOptions(Strict):
    version: Literal["v1", "v2"]
    idleTimeoutSeconds: Annotated[int, Field(ge=0)]
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] = "Default"
    resources: Resources


class HeadGroup(Strict):
    rayStartParams: Labels
    template: PodTemplate


class WorkerGroup(Strict):
    groupName: Name
    replicas: int | None = None
    minReplicas: Annotated[int, Field(ge=0)]
    maxReplicas: Annotated[int, Field(ge=1)]
    priority: int = 0
    rayStartParams: Labels
    template: PodTemplate


class ClusterSpec(Strict):
    rayVersion: str
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool = False
    autoscalerOptions: AutoscalerOptions | None = None
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]


class RayCluster(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Meta
    spec: ClusterSpec


class RayJobSpec(Strict):
    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]
    backoffLimit: Annotated[int, Field(ge=0)]
    activeDeadlineSeconds: Annotated[int, Field(ge=1)]
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: Annotated[int, Field(ge=0)]
    rayClusterSpec: ClusterSpec


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Meta
    spec: RayJobSpec


class RayServiceSpec(Strict):
    serviceUnhealthySecondThreshold: int
    deploymentUnhealthySecondThreshold: int
    serveConfigV2: str
    rayClusterConfig: ClusterSpec


class RayService(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayService"]
    metadata: Meta
    spec: RayServiceSpec


class Namespace(Strict):
    apiVersion: Literal["v1"]
    kind: Literal["Namespace"]
    metadata: Meta


class ServiceAccount(Strict):
    apiVersion: Literal["v1"]
    kind: Literal["ServiceAccount"]
    metadata: Meta
    automountServiceAccountToken: bool


class Selector(Strict):
    matchLabels: Labels = Field(default_factory=dict)
    matchExpressions: list[Requirement] = Field(default_factory=list)


class Peer(Strict):
    podSelector: Selector | None = None
    namespaceSelector: Selector | None = None


class PeerPort(Strict):
    port: int


class Ingress(Strict):
    from_: Annotated[list[Peer], Field(alias="from", min_length=1)]  # without: from everywhere
    ports: list[PeerPort] = Field(default_factory=list)


class NetworkPolicySpec(Strict):
    podSelector: Selector
    policyTypes: list[Literal["Ingress", "Egress"]]
    ingress: list[Ingress]


class NetworkPolicy(Strict):
    apiVersion: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    metadata: Meta
    spec: NetworkPolicySpec


class ServicePort(Strict):
    name: str
    port: int
    targetPort: int | str


class ServiceSpec(Strict):
    type: Literal["ClusterIP"] = "ClusterIP"  # others listen outside the cluster
    selector: Labels
    ports: list[ServicePort]


class Service(Strict):
    apiVersion: Literal["v1"]
    kind: Literal["Service"]
    metadata: Meta
    spec: ServiceSpec


class DeploymentSpec(Strict):
    replicas: int
    selector: Selector
    template: PodTemplate


class Deployment(Strict):
    apiVersion: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Meta
    spec: DeploymentSpec


class JobSpec(Strict):
    backoffLimit: int
    template: PodTemplate


class Job(Strict):
    apiVersion: Literal["batch/v1"]
    kind: Literal["Job"]
    metadata: Meta
    spec: JobSpec


class ResourceFlavor(Strict):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    kind: Literal["ResourceFlavor"]
    metadata: Meta


class Quota(Strict):
    name: str
    nominalQuota: Quantity


class FlavorQuotas(Strict):
    name: Name
    resources: list[Quota]


class ResourceGroup(Strict):
    coveredResources: list[str]
    flavors: list[FlavorQuotas]


class ClusterQueueSpec(Strict):
    namespaceSelector: Selector
    queueingStrategy: Literal["StrictFIFO", "BestEffortFIFO"]
    resourceGroups: list[ResourceGroup]


class ClusterQueue(Strict):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    kind: Literal["ClusterQueue"]
    metadata: Meta
    spec: ClusterQueueSpec


class LocalQueueSpec(Strict):
    clusterQueue: Name


class LocalQueue(Strict):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    kind: Literal["LocalQueue"]
    metadata: Meta
    spec: LocalQueueSpec


class Relabelling(Strict):
    action: Literal["labeldrop", "replace"] = "replace"
    regex: str | None = None
    sourceLabels: list[str] = Field(default_factory=list)
    targetLabel: str | None = None


class MetricsEndpoint(Strict):
    port: str
    interval: Annotated[str, Field(pattern=r"^\d+s$")]
    relabelings: list[Relabelling] = Field(default_factory=list)
    metricRelabelings: list[Relabelling] = Field(default_factory=list)


class NamesOfNamespaces(Strict):
    matchNames: list[Name]


class PodMonitorSpec(Strict):
    namespaceSelector: NamesOfNamespaces
    selector: Selector
    podMetricsEndpoints: list[MetricsEndpoint]


class PodMonitor(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: Meta
    spec: PodMonitorSpec


Manifest = Annotated[
    RayJob
    | RayCluster
    | RayService
    | Namespace
    | ServiceAccount
    | NetworkPolicy
    | Service
    | Deployment
    | Job
    | ResourceFlavor
    | ClusterQueue
    | LocalQueue
    | PodMonitor,
    Field(discriminator="kind"),
]
_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def read(document: Any) -> Manifest:
    """The manifest of a parsed YAML document. Raises pydantic.ValidationError."""
    return _MANIFEST.validate_python(document)
