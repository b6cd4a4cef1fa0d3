"""The router's Kubernetes objects but for its pods and network policies (`router_pods`, `router_network`): pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.settings.router import RouterSettings
from headrace_components import tenancy
from headrace_components.router_names import (
    ADMIN_PORT,
    BALANCER_SERVICE,
    CONFIG_KEY,
    CONFIG_MAP,
    CPU_PERCENT,
    DEREGISTRATION_S,
    ENVIRONMENT_SECRET,
    HTTP,
    HTTPS,
    IN_FLIGHT_METRIC,
    KEYS_KEY,
    KEYS_SECRET,
    NAME,
    NAMESPACE,
    REPLICAS_SERVICE,
    SERVICE_ACCOUNT,
    STORAGE_CLASS,
    Manifest,
    labels,
    meta,
    selector,
)
from headrace_components.router_plan import RouterPlan


def namespace() -> Manifest:
    """Restricted. Its label is what the network policies of pools and tenant spaces know the router by."""
    modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {"metadata": {"name": NAMESPACE, "labels": {**labels(), **tenancy.ROUTER_NAMESPACE_LABEL, **modes}}}


def service_account() -> Manifest:
    """What Pod Identity maps to the router's role; no token for the Kubernetes API."""
    return {"metadata": meta(SERVICE_ACCOUNT), "automountServiceAccountToken": False}


def config_map(configuration: Any) -> Manifest:
    """The rendered configuration. One name for all versions: running replicas reload it without dropping a stream, and
    the checksum in the pod template then renews them one by one, so that a configuration that a start can't take stops
    at the first replica."""
    return {"metadata": meta(CONFIG_MAP), "data": {CONFIG_KEY: configuration}}


def keys_secret(keys: Any) -> Manifest:
    """Hashes of API keys. Not part of the checksum: the router reloads the file by itself, and a new key is no reason
    to renew the replicas."""
    return {"metadata": meta(KEYS_SECRET), "type": "Opaque", "stringData": {KEYS_KEY: keys}}


def environment_secret(variables: Any) -> Manifest:
    """Credentials of data stores and vendors, as environment variables."""
    return {"metadata": meta(ENVIRONMENT_SECRET), "type": "Opaque", "stringData": variables}


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
        "metadata": meta(REPLICAS_SERVICE),
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
        "metadata": meta(NAME),
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
        "metadata": {**meta(BALANCER_SERVICE), "annotations": annotations},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "selector": selector(),
            "ports": [{**port, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def disruption_budget() -> Manifest:
    """One replica leaves at a time, however nodes are drained."""
    return {"metadata": meta(NAME), "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector()}}}


def autoscaler(router: RouterSettings) -> Manifest:
    """Scales on CPU, which every cluster serves, and on requests in flight where the settings say that an adapter
    serves those. An autoscaler that can't read one of its metrics never scales down, so the second is not there by
    default. Down slowly: a replica that leaves takes its streams' drain time."""
    return {
        "metadata": meta(NAME),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": NAME},
            "minReplicas": router.min_replicas,
            "maxReplicas": router.max_replicas,
            "metrics": _scaling_metrics(router.in_flight_per_replica),
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


def _scaling_metrics(in_flight_per_replica: int | None) -> list[dict[str, Any]]:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT}}
    found: list[dict[str, Any]] = [{"type": "Resource", "resource": cpu}]
    if in_flight_per_replica is not None:
        target = {"type": "AverageValue", "averageValue": str(in_flight_per_replica)}
        found.append({"type": "Pods", "pods": {"metric": {"name": IN_FLIGHT_METRIC}, "target": target}})
    return found
