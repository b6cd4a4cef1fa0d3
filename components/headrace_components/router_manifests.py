"""The router as Kubernetes manifests: pure.

A StatefulSet, not a Deployment. Each replica's journal is the truth for records and money until the database has it,
and a replica that starts again posts what its own journal left open. So a replica needs its name and its volume back
after a crash, a drain or the loss of a node; a Deployment's pods have neither, and `emptyDir` goes with the pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headrace.settings.router import RouterSettings
from headrace_components import serving, tenancy
from headrace_components.router_plan import RouterPlan

Manifest = dict[str, Any]

NAMESPACE: Final = "router"
NAME: Final = "router"
REPLICAS_SERVICE: Final = "router-replicas"
BALANCER_SERVICE: Final = "router-balancer"
CONFIG_MAP: Final = "router-config"
CONFIG_KEY: Final = "router.json"
KEYS_SECRET: Final = "router-keys"  # noqa: S105 - names of Secrets, not secrets
KEYS_KEY: Final = "keys.json"
ENVIRONMENT_SECRET: Final = "router-environment"  # noqa: S105
SERVICE_ACCOUNT: Final = "router"
MIGRATION: Final = "router-migration"
MIGRATION_SECRET: Final = "router-migration"  # noqa: S105
STORAGE_CLASS: Final = "router-journal"
CHECKSUM: Final = "headrace.dev/configuration-checksum"
API_PORT: Final = 8080
ADMIN_PORT: Final = 8081
HTTP: Final = 80
HTTPS: Final = 443
REDIS_PORT: Final = 6379
POSTGRES_PORT: Final = 5432
# What the load balancer needs to notice that a replica takes no more requests.
DEREGISTRATION_S: Final = 15
# The gauge of requests in flight, per pod, as an adapter of custom metrics serves it (docs/components/router.md).
IN_FLIGHT_METRIC: Final = "headrace_in_flight"
CPU_PERCENT: Final = 70
TIER: Final = {"headrace.dev/tier": "router"}
TAINT: Final[Mapping[str, str]] = {"key": "headrace.dev/tier", "value": "router", "effect": "NO_SCHEDULE"}
_PRIVATE: Final = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
# The Pod Identity agent of the node (link-local, EKS user guide).
_POD_IDENTITY: Final = "169.254.170.23/32"


def labels() -> dict[str, str]:
    """Labels of every object."""
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": "headrace"}


def selector() -> dict[str, str]:
    """What identifies the pods."""
    return {"app.kubernetes.io/name": NAME}


def namespace() -> Manifest:
    """Restricted. Its label is what the network policies of pools and tenant spaces know the router by."""
    modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {"metadata": {"name": NAMESPACE, "labels": {**labels(), **tenancy.ROUTER_NAMESPACE_LABEL, **modes}}}


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": labels()}


def service_account() -> Manifest:
    """What Pod Identity maps to the router's role; no token for the Kubernetes API."""
    return {"metadata": _meta(SERVICE_ACCOUNT), "automountServiceAccountToken": False}


def config_map(configuration: Any) -> Manifest:
    """The rendered configuration. One name for all versions: running replicas reload it without dropping a stream, and
    the checksum in the pod template then renews them one by one, so that a configuration that a start can't take stops
    at the first replica."""
    return {"metadata": _meta(CONFIG_MAP), "data": {CONFIG_KEY: configuration}}


def keys_secret(keys: Any) -> Manifest:
    """Hashes of API keys. Not part of the checksum: the router reloads the file by itself, and a new key is no reason
    to renew the replicas."""
    return {"metadata": _meta(KEYS_SECRET), "type": "Opaque", "stringData": {KEYS_KEY: keys}}


def environment_secret(variables: Any) -> Manifest:
    """Credentials of data stores and vendors, as environment variables."""
    return {"metadata": _meta(ENVIRONMENT_SECRET), "type": "Opaque", "stringData": variables}


def storage_class(plan: RouterPlan, key_arn: Any, tags: Mapping[str, str]) -> Manifest:
    """Encrypted gp3 volumes, made in the zone of the replica that needs one."""
    return {
        "metadata": {"name": STORAGE_CLASS, "labels": labels()},
        "provisioner": "ebs.csi.aws.com",
        "parameters": {
            "type": "gp3",
            "encrypted": "true",
            "kmsKeyId": key_arn,
            **{f"tagSpecification_{at}": f"{key}={value}" for at, (key, value) in enumerate(sorted(tags.items()), 1)},
        },
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain" if plan.keeps_journals else "Delete",
        "allowVolumeExpansion": True,
    }


def replicas_service() -> Manifest:
    """The names of single replicas, ready or not."""
    return {
        "metadata": _meta(REPLICAS_SERVICE),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector(),
            "ports": [{"name": "admin", "port": ADMIN_PORT, "targetPort": "admin", "protocol": "TCP"}],
        },
    }


def service() -> Manifest:
    """Where tenants' pods find the router."""
    return {
        "metadata": _meta(NAME),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(),
            "ports": [{"name": "http", "port": HTTP, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def balancer_service(router: RouterSettings, subnet_ids: Any, tags: Mapping[str, str]) -> Manifest:
    """An internal NLB. The annotations are those that EKS's own service controller and the AWS Load Balancer
    Controller both know, so a cluster with either makes it; `scheme` and `nlb-target-type` only the latter reads."""
    prefix = "service.beta.kubernetes.io/aws-load-balancer"
    tls = router.certificate_arn is not None
    annotations = {
        f"{prefix}-type": "nlb",
        f"{prefix}-internal": "true",
        f"{prefix}-scheme": "internal",
        f"{prefix}-nlb-target-type": "ip",
        f"{prefix}-subnets": subnet_ids,
        f"{prefix}-cross-zone-load-balancing-enabled": "true",
        f"{prefix}-healthcheck-protocol": "http",
        f"{prefix}-healthcheck-port": str(ADMIN_PORT),
        f"{prefix}-healthcheck-path": "/readyz",
        f"{prefix}-healthcheck-interval": "10",
        f"{prefix}-target-group-attributes": f"deregistration_delay.timeout_seconds={DEREGISTRATION_S}",
        f"{prefix}-additional-resource-tags": ",".join(f"{key}={value}" for key, value in sorted(tags.items())),
    }
    if router.certificate_arn is not None:
        annotations |= {f"{prefix}-ssl-cert": router.certificate_arn, f"{prefix}-ssl-ports": str(HTTPS)}
    port = {"name": "https", "port": HTTPS} if tls else {"name": "http", "port": HTTP}
    return {
        "metadata": {**_meta(BALANCER_SERVICE), "annotations": annotations},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "selector": selector(),
            "ports": [{**port, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def disruption_budget() -> Manifest:
    """One replica leaves at a time, however nodes are drained."""
    return {"metadata": _meta(NAME), "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector()}}}


def autoscaler(router: RouterSettings) -> Manifest:
    """Scales on requests in flight, and on CPU where nobody serves that metric. Down slowly: a replica that leaves
    takes its streams' drain time."""
    return {
        "metadata": _meta(NAME),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": NAME},
            "minReplicas": router.min_replicas,
            "maxReplicas": router.max_replicas,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": IN_FLIGHT_METRIC},
                        "target": {"type": "AverageValue", "averageValue": str(router.in_flight_per_replica)},
                    },
                },
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT},
                    },
                },
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "selectPolicy": "Max",
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 600,
                    "selectPolicy": "Max",
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
                },
            },
        },
    }


def network_policies(plan: RouterPlan, pool_namespaces: Sequence[str]) -> dict[str, Manifest]:
    """Default deny; in: tenants, the load balancer, monitoring; out: DNS, each pool, the data stores, AWS's identity
    agent, and HTTPS: to public addresses alone, and only where a pool or the audit trail lies behind one."""
    return {
        "default-deny": tenancy.default_deny(NAMESPACE, labels()),
        "allow-dns": tenancy.allow_dns(NAMESPACE, labels()),
        "allow-callers": _ingress(plan),
        "allow-pools": _to_pools(pool_namespaces),
        "allow-data-stores": _egress(
            "allow-data-stores",
            [{"ipBlock": {"cidr": cidr}} for cidr in plan.store_cidrs],
            [REDIS_PORT, POSTGRES_PORT],
        ),
        "allow-identity": _egress("allow-identity", [{"ipBlock": {"cidr": _POD_IDENTITY}}], [HTTP]),
        # No policy can name a host. What narrows this is the route of the subnets: without serverless pools there is
        # none but to AWS's own endpoints.
        "allow-https": _egress(
            "allow-https",
            [
                {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(_PRIVATE)}},
                *({"ipBlock": {"cidr": cidr}} for cidr in plan.store_cidrs),
            ],
            [HTTPS],
        ),
    }


def _egress(name: str, peers: list[Manifest], ports: Sequence[int]) -> Manifest:
    return {
        "metadata": _meta(name),
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": peers, "ports": [{"protocol": "TCP", "port": port} for port in ports]}],
        },
    }


def _to_pools(namespaces: Sequence[str]) -> Manifest:
    """To the model servers of exactly these pools."""
    return {
        "metadata": _meta("allow-pools"),
        "spec": {
            "podSelector": {"matchLabels": selector()},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [
                        {
                            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "model-server"}},
                        }
                    ],
                    "ports": [{"protocol": "TCP", "port": serving.PORT}],
                }
                for name in namespaces
            ],
        },
    }


def _ingress(plan: RouterPlan) -> Manifest:
    tenants = {"namespaceSelector": {"matchExpressions": [{"key": "headrace.dev/tenant", "operator": "Exists"}]}}
    monitoring = {"namespaceSelector": {"matchLabels": {"headrace.dev/role": "monitoring"}}}
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in plan.client_cidrs]
    return {
        "metadata": _meta("allow-callers"),
        "spec": {
            "podSelector": {"matchLabels": selector()},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [tenants, *blocks], "ports": [{"protocol": "TCP", "port": API_PORT}]},
                {
                    "from": [monitoring, *({"ipBlock": {"cidr": cidr}} for cidr in plan.router_cidrs)],
                    "ports": [{"protocol": "TCP", "port": ADMIN_PORT}],
                },
            ],
        },
    }


def stateful_set(plan: RouterPlan, image: str, checksum: Any) -> Manifest:
    """The replicas. `spec.replicas` is only where they start: from then on the autoscaler sets it."""
    return {
        "metadata": _meta(NAME),
        "spec": {
            "serviceName": REPLICAS_SERVICE,
            "replicas": plan.router.min_replicas,
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 5,
            "minReadySeconds": 5,
            "selector": {"matchLabels": selector()},
            "updateStrategy": {"type": "RollingUpdate"},
            # A replica that is scaled away has drained its journal; were the database away, its volume still has it.
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": {
                "metadata": {
                    "labels": labels(),
                    "annotations": {
                        CHECKSUM: checksum,
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(ADMIN_PORT),
                    },
                },
                "spec": _pod(plan, image),
            },
            "volumeClaimTemplates": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "journal", "labels": selector()},
                    "spec": {
                        "accessModes": ["ReadWriteOncePod"],
                        "storageClassName": STORAGE_CLASS,
                        "volumeMode": "Filesystem",
                        "resources": {"requests": {"storage": f"{plan.router.journal_gib}Gi"}},
                    },
                }
            ],
        },
    }


def _place() -> dict[str, Any]:
    """Where pods of ours run, and as whom: on the router's machines, as nobody."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": dict(TIER),
        "tolerations": [
            {"key": TAINT["key"], "operator": "Equal", "value": TAINT["value"], "effect": "NoSchedule"},
        ],
        "securityContext": serving.pod_security(),
    }


def _pod(plan: RouterPlan, image: str) -> dict[str, Any]:
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        **_place(),
        "terminationGracePeriodSeconds": plan.router.drain_timeout_s + 2 * DEREGISTRATION_S,
        "topologySpreadConstraints": [
            _spread("topology.kubernetes.io/zone", "DoNotSchedule"),
            _spread("kubernetes.io/hostname", "ScheduleAnyway"),
        ],
        "containers": [_container(image)],
        "volumes": [
            {"name": "config", "configMap": {"name": CONFIG_MAP}},
            {"name": "keys", "secret": {"secretName": KEYS_SECRET}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }


def _spread(key: str, otherwise: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": otherwise,
        "labelSelector": {"matchLabels": selector()},
    }


def _container(image: str) -> dict[str, Any]:
    return {
        "name": "router",
        "image": image,
        "command": ["headrace", "router", "serve"],
        "args": [
            f"--config=/etc/headrace/config/{CONFIG_KEY}",
            f"--keys=/etc/headrace/keys/{KEYS_KEY}",
            "--spool=/var/lib/headrace/journal",
            "--host=0.0.0.0",
            f"--port={API_PORT}",
            f"--admin-port={ADMIN_PORT}",
            "--replica=$(POD_NAME)",
        ],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
        ],
        "envFrom": [{"secretRef": {"name": ENVIRONMENT_SECRET}}],
        "ports": [
            {"name": "http", "containerPort": API_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "securityContext": serving.container_security(),
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        # A start replays the journal of the last run; a long one may take minutes.
        "startupProbe": {**_probe("/livez"), "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "failureThreshold": 6},
        # Addresses are taken out of the balancer before the router stops taking connections.
        "lifecycle": {"preStop": {"sleep": {"seconds": DEREGISTRATION_S}}},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/headrace/config", "readOnly": True},
            {"name": "keys", "mountPath": "/etc/headrace/keys", "readOnly": True},
            {"name": "journal", "mountPath": "/var/lib/headrace"},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
        ],
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "admin", "scheme": "HTTP"}, "timeoutSeconds": 3}


def migration_secret(variables: Any) -> Manifest:
    """What the migration needs beside its role: where the database is, and the password that the router's role gets."""
    return {"metadata": _meta(MIGRATION_SECRET), "type": "Opaque", "stringData": variables}


def migration_account() -> Manifest:
    """The migration's own identity: the router's pods can't read the master's credential."""
    return {"metadata": _meta(MIGRATION), "automountServiceAccountToken": False}


def migration(image: str, credentials_version: int, login_argument: Any, region: str) -> Manifest:
    """Makes the ledger's tables and the router's role, before the replicas start. Its name carries the image's digest
    and the credentials' version, so another image migrates again, and another password is set."""
    run = f"{image.rpartition(':')[2][:8]}-{credentials_version}"
    marks = {**labels(), "app.kubernetes.io/name": MIGRATION}
    container = {
        "name": "migrate",
        "image": image,
        "command": ["headrace", "audit", "migrate"],
        "args": [login_argument],
        "env": [
            {"name": "AWS_REGION", "value": region},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
        ],
        "envFrom": [{"secretRef": {"name": MIGRATION_SECRET}}],
        "securityContext": serving.container_security(),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108 # a mount of the pod
    }
    return {
        "metadata": {**_meta(f"{MIGRATION}-{run}"), "labels": marks},
        "spec": {
            "backoffLimit": 4,
            "activeDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": marks},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": MIGRATION,
                    **_place(),
                    "containers": [container],
                    "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}}],
                },
            },
        },
    }


def pool_namespaces(plan: RouterPlan) -> list[str]:
    """The namespaces of the dedicated pools."""
    return [serving.pool_namespace(pool) for pool in sorted(plan.settings.dedicated_pools)]


def internal_url() -> str:
    """Where tenants' pods find the API."""
    return f"http://{NAME}.{NAMESPACE}.svc.cluster.local/v1"
