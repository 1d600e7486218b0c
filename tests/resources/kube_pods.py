"""The fields of pods that `infra/` uses; see kube_shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
Labels = dict[str, str]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Resources(Strict):
    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class KeyRef(Strict):
    name: Name
    key: str
    optional: bool = False


class ValueFrom(Strict):
    secretKeyRef: KeyRef


class Variable(Strict):
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    value: str | None = None
    valueFrom: ValueFrom | None = None


class SecretRef(Strict):
    name: Name
    optional: bool = False


class VariablesFrom(Strict):
    secretRef: SecretRef


class ContainerPort(Strict):
    name: Annotated[str, Field(max_length=15)]
    containerPort: Annotated[int, Field(ge=1, le=65535)]


class Mount(Strict):
    name: Name
    mountPath: Annotated[str, Field(pattern="^/")]


class Capabilities(Strict):
    drop: list[str]


class ContainerSecurity(Strict):
    allowPrivilegeEscalation: Literal[False]
    capabilities: Capabilities


class HttpGet(Strict):
    path: str
    port: int | str


class Probe(Strict):
    httpGet: HttpGet


class Exec(Strict):
    command: list[str]


class Handler(Strict):
    exec: Exec


class Lifecycle(Strict):
    preStop: Handler


class Container(Strict):
    name: Name
    image: str
    command: list[str] = []
    args: list[str] = []
    env: list[Variable] = []
    envFrom: list[VariablesFrom] = []
    ports: list[ContainerPort] = []
    resources: Resources
    readinessProbe: Probe | None = None
    lifecycle: Lifecycle | None = None
    securityContext: ContainerSecurity
    volumeMounts: list[Mount] = []


class EmptyDir(Strict):
    sizeLimit: Quantity


class Volume(Strict):
    name: Name
    emptyDir: EmptyDir


class SeccompProfile(Strict):
    type: Literal["RuntimeDefault"]


class PodSecurity(Strict):
    runAsNonRoot: Literal[True]
    runAsUser: Annotated[int, Field(ge=1)]
    runAsGroup: int | None = None
    fsGroup: int | None = None
    seccompProfile: SeccompProfile


class Toleration(Strict):
    key: str
    operator: Literal["Equal", "Exists"]
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Requirement(Strict):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = []


class NodeTerm(Strict):
    matchExpressions: list[Requirement]


class NodeTerms(Strict):
    nodeSelectorTerms: list[NodeTerm]


class NodeAffinity(Strict):
    requiredDuringSchedulingIgnoredDuringExecution: NodeTerms


class Affinity(Strict):
    nodeAffinity: NodeAffinity


class PodSpec(Strict):
    serviceAccountName: Name | None = None
    automountServiceAccountToken: bool | None = None
    terminationGracePeriodSeconds: Annotated[int, Field(ge=0)] = 30
    affinity: Affinity | None = None
    nodeSelector: Labels = {}
    tolerations: list[Toleration] = []
    restartPolicy: Literal["Never", "OnFailure", "Always"] | None = None
    securityContext: PodSecurity
    containers: Annotated[list[Container], Field(min_length=1)]
    volumes: list[Volume] = []


class PodMeta(Strict):
    labels: Labels = {}
    annotations: Labels = {}


class PodTemplate(Strict):
    metadata: PodMeta = PodMeta()
    spec: PodSpec
