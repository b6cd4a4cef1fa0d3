"""The model server of a dedicated pool as Kubernetes manifests: vLLM-compatible, one workload, one release.

Every pod first fetches the release and checks its digest (`runtime/fetch_release.py`), so no pod ever serves other
weights than the release names. A DaemonSet holds the image on every node of the pool before a replica needs it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from headrace.catalog.schema import InstanceType
from headrace.errors import refuse
from headrace.settings.releases import ModelRelease, Workload
from headrace_components import devices, scripts, tenancy

Manifest = dict[str, Any]

PORT: Final = 8000
SERVICE_ACCOUNT: Final = "model-server"
DEPLOYMENT: Final = "model-server"
MODEL_DIRECTORY: Final = "/models/release"
USER_ID: Final = 10001
# A cautious rate for the sum of both steps, S3 to disk and disk to GPU. Compilation and CUDA graphs take minutes of
# their own however small the model is.
FETCH_GIB_PER_S: Final = 0.5
STARTUP_FLOOR_S: Final = 600
PROBE_PERIOD_S: Final = 10
# A request in flight may stream for minutes; the router stops sending first.
TERMINATION_GRACE_S: Final = 300
# Shares of a node's machine that one replica asks for; the rest is for the system's own pods.
CPU_SHARE: Final = 0.7
MEMORY_SHARE: Final = 0.7


@dataclass(frozen=True, kw_only=True)
class Server:
    """All that the manifests are made of. `image` and `slots` are per replica; `region` is where the release lies."""

    pool: str
    workload_name: str
    workload: Workload
    release_name: str
    release: ModelRelease
    image: str
    instance: InstanceType
    replicas: int
    slots: int
    region: str

    @property
    def namespace(self) -> str:
        """The namespace of the pool."""
        return pool_namespace(self.pool)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every object."""
        return {
            **devices.labels("model-server", self.pool),
            "headrace.dev/workload": self.workload_name,
            "headrace.dev/release": self.release_name,
        }

    @property
    def selector(self) -> dict[str, str]:
        """What identifies the pods; never the release, or a new one would replace the Deployment."""
        return {"app.kubernetes.io/name": "model-server", devices.POOL_LABEL: self.pool}


def pool_namespace(pool: str) -> str:
    """The namespace of a pool's model servers."""
    return f"pool-{pool}"


def replicas_per_node(pool: str, instance: InstanceType, release: ModelRelease) -> int:
    """How many replicas fit on a node by GPUs alone."""
    if release.tensor_parallel > instance.gpu_count:
        raise refuse(
            f"dedicatedPools.{pool}.instanceType",
            instance.name,
            f"must have at least {release.tensor_parallel} GPUs, it has {instance.gpu_count}",
            reason=f"the release splits the model over {release.tensor_parallel} GPUs of one machine",
            next_step="choose a larger type, or a release with a smaller `tensorParallel`",
        )
    return instance.gpu_count // release.tensor_parallel


def namespace(server: Server) -> Manifest:
    """The pool's namespace: restricted, so that model servers need no exception."""
    modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {"metadata": {"name": server.namespace, "labels": {**server.labels, **modes}}}


def service_account(server: Server) -> Manifest:
    """The identity that Pod Identity maps to the reader's role; no token for the Kubernetes API."""
    return {
        "metadata": {"name": SERVICE_ACCOUNT, "namespace": server.namespace, "labels": server.labels},
        "automountServiceAccountToken": False,
    }


def script_map(server: Server) -> Manifest:
    """The script of the init container."""
    return scripts.config_map("fetch_release.py", server.namespace, server.labels, name="fetch-release")


def service(server: Server) -> Manifest:
    """The name under which the router finds the pool."""
    return {
        "metadata": {
            "name": "model-server",
            "namespace": server.namespace,
            "labels": server.labels,
            # The Deployment is what a deployment waits for; a pool of zero replicas has no endpoint to wait for.
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        "spec": {
            "type": "ClusterIP",
            "selector": server.selector,
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def replicas(server: Server) -> Manifest:
    """The name whose addresses are the replicas themselves: their metrics tell each its own queue."""
    balanced = service(server)
    return {
        **balanced,
        "metadata": {**balanced["metadata"], "name": "model-server-replicas"},
        "spec": {**balanced["spec"], "clusterIP": "None"},
    }


def disruption_budget(server: Server) -> Manifest:
    """At most one replica leaves at a time, however nodes are drained."""
    return {
        "metadata": {"name": "model-server", "namespace": server.namespace, "labels": server.labels},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": server.selector}},
    }


def network_policies(server: Server) -> dict[str, Manifest]:
    """Default deny; then the router and the metrics agents in; DNS, S3 and Pod Identity out.

    The S3 gateway endpoint has no address of its own, so port 443 is open to any address. The subnet's routes, not this
    policy, are what keeps the internet away.
    """
    space = server.namespace
    meta = {"namespace": space, "labels": server.labels}
    return {
        "default-deny": tenancy.default_deny(space, server.labels),
        "allow-dns": tenancy.allow_dns(space, server.labels),
        "allow-router": {
            "metadata": {"name": "allow-router", **meta},
            "spec": {
                "podSelector": {"matchLabels": server.selector},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [
                            {"namespaceSelector": {"matchLabels": dict(tenancy.ROUTER_NAMESPACE_LABEL)}},
                            {"namespaceSelector": {"matchLabels": {"headrace.dev/role": "monitoring"}}},
                        ],
                        "ports": [{"protocol": "TCP", "port": PORT}],
                    }
                ],
            },
        },
        "allow-release": {
            "metadata": {"name": "allow-release", **meta},
            "spec": {
                "podSelector": {"matchLabels": server.selector},
                "policyTypes": ["Egress"],
                "egress": [
                    {"ports": [{"protocol": "TCP", "port": 443}]},
                    # The Pod Identity agent of the node (link-local, EKS user guide).
                    {
                        "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
                        "ports": [{"protocol": "TCP", "port": 80}],
                    },
                ],
            },
        },
    }


def arguments(server: Server) -> list[str]:
    """vLLM's arguments. Those of the release come last and stand beside ours: what changes results belongs to it."""
    release = server.release
    return [
        MODEL_DIRECTORY,
        f"--served-model-name={server.workload_name}",
        f"--port={PORT}",
        f"--tensor-parallel-size={release.tensor_parallel}",
        f"--max-model-len={server.workload.context_tokens}",
        f"--max-num-seqs={server.slots}",
        *([f"--quantization={release.quantization}"] if release.quantization else []),
        *release.serving_args,
    ]


def deployment(server: Server, script_name: str) -> Manifest:
    """The model server. Rolling without surge: on a floor that is sized to its load no spare GPU exists, and a surge
    pod would wait for ever."""
    return {
        "metadata": {"name": DEPLOYMENT, "namespace": server.namespace, "labels": server.labels},
        "spec": {
            "replicas": server.replicas,
            "revisionHistoryLimit": 5,
            "progressDeadlineSeconds": startup_seconds(server.release) + 300,
            "selector": {"matchLabels": server.selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {
                    "labels": server.labels,
                    "annotations": {
                        "headrace.dev/artifact-digest": server.release.artifact_digest,
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(PORT),
                    },
                },
                "spec": _pod(server, script_name),
            },
        },
    }


def _pod(server: Server, script_name: str) -> dict[str, Any]:
    release = server.release
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_S,
        "nodeSelector": {devices.POOL_LABEL: server.pool},
        "tolerations": [dict(devices.GPU_TOLERATION)],
        "securityContext": pod_security(),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": server.selector},
            }
        ],
        "initContainers": [
            {
                "name": "fetch-release",
                "image": server.image,
                "command": ["python3", f"{scripts.DIRECTORY}/fetch_release.py"],
                "env": [
                    {"name": "ARTIFACT_URI", "value": release.artifact_uri},
                    {"name": "ARTIFACT_DIGEST", "value": release.artifact_digest},
                    {"name": "TARGET_DIR", "value": MODEL_DIRECTORY},
                    {"name": "AWS_REGION", "value": server.region},
                ],
                "securityContext": container_security(),
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                "volumeMounts": [
                    {"name": "models", "mountPath": "/models"},
                    {"name": "script", "mountPath": scripts.DIRECTORY, "readOnly": True},
                    {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
                ],
            }
        ],
        "containers": [_server_container(server)],
        "volumes": [
            {"name": "models", "emptyDir": {"sizeLimit": tenancy.mebibytes(math.ceil(release.weights_gib * 1.5) + 5)}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "20Gi"}},
            # NCCL and the server's workers talk through shared memory; Docker's default of 64 MiB is too small.
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{2 * release.tensor_parallel}Gi"}},
            {"name": "script", "configMap": {"name": script_name}},
        ],
    }


def _server_container(server: Server) -> dict[str, Any]:
    health = {"httpGet": {"path": "/health", "port": "http"}, "timeoutSeconds": 5}
    gpus = {devices.GPU_RESOURCE: str(server.release.tensor_parallel)}
    cpu, memory = share_of_node(server.instance, server.release)
    return {
        "name": "server",
        "image": server.image,
        "command": ["vllm", "serve"],
        "args": arguments(server),
        "env": [
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 # the only writable place of the container
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
        ],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "securityContext": container_security(),
        "resources": {
            "requests": {"cpu": str(cpu), "memory": f"{memory}Gi", **gpus},
            "limits": {"memory": f"{memory}Gi", **gpus},
        },
        "startupProbe": {
            **health,
            "periodSeconds": PROBE_PERIOD_S,
            "failureThreshold": math.ceil(startup_seconds(server.release) / PROBE_PERIOD_S),
        },
        "readinessProbe": {**health, "periodSeconds": 5, "failureThreshold": 2},
        # Slow is not dead: a busy engine may answer late, so only two minutes of silence restart it.
        "livenessProbe": {**health, "periodSeconds": 10, "failureThreshold": 12},
        # Endpoints lose the pod before the server stops taking connections.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "15"]}}},
        "volumeMounts": [
            {"name": "models", "mountPath": "/models", "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 # a mount of the pod, not of this machine
        ],
    }


def pre_pull(server: Server) -> Manifest:
    """Holds the image on every node of the pool, so that a replica that moves there starts without pulling, and the
    kubelet never collects it as unused."""
    marks = {**devices.labels("pre-pull", server.pool)}
    return {
        "metadata": {"name": "pre-pull", "namespace": server.namespace, "labels": marks},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "pre-pull", devices.POOL_LABEL: server.pool}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": marks},
                "spec": {
                    "automountServiceAccountToken": False,
                    "nodeSelector": {devices.POOL_LABEL: server.pool},
                    "tolerations": [dict(devices.GPU_TOLERATION)],
                    "securityContext": pod_security(),
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "hold",
                            "image": server.image,
                            "command": ["sleep", "infinity"],
                            "securityContext": container_security(),
                            "resources": {
                                "requests": {"cpu": "1m", "memory": "8Mi"},
                                "limits": {"memory": "32Mi"},
                            },
                        }
                    ],
                },
            },
        },
    }


def pod_security() -> dict[str, Any]:
    """What Pod Security's level `restricted` asks of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """What Pod Security's level `restricted` asks of a container, and a root file system that nobody can write to."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def startup_seconds(release: ModelRelease) -> int:
    """How long a replica may take until it answers: fetch, load, compile. At least ten minutes."""
    return STARTUP_FLOOR_S + math.ceil(release.weights_gib / FETCH_GIB_PER_S)


def share_of_node(instance: InstanceType, release: ModelRelease) -> tuple[int, int]:
    """CPU cores and GiB of memory for one replica, by its share of the node's GPUs."""
    share = release.tensor_parallel / instance.gpu_count
    cpu = max(1, math.floor(instance.vcpus * CPU_SHARE * share))
    return cpu, max(2, math.floor(instance.memory_gib * MEMORY_SHARE * share))
