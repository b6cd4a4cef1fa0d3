"""Who may reach the router and whom it may reach, as network policies: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from headrace_components import serving, tenancy
from headrace_components.router_names import (
    ADMIN_PORT,
    API_PORT,
    HOURLY_FLOOR,
    HTTP,
    HTTPS,
    NAMESPACE,
    POSTGRES_PORT,
    REDIS_PORT,
    Manifest,
    labels,
    meta,
    selector,
)
from headrace_components.router_plan import RouterPlan

_PRIVATE: Final = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
_MONITORING: Final[Mapping[str, Any]] = {"namespaceSelector": {"matchLabels": {"headrace.dev/role": "monitoring"}}}
# The Pod Identity agent of the node (link-local, EKS user guide).
_POD_IDENTITY: Final = "169.254.170.23/32"


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
        "allow-identity": _egress("allow-identity", [{"ipBlock": {"cidr": _POD_IDENTITY}}], [HTTP], {}),
        # No policy can name a host. What narrows this is the route of the subnets: without serverless pools there is
        # none but to AWS's own endpoints.
        "allow-https": _egress(
            "allow-https",
            [
                public_addresses(),
                *({"ipBlock": {"cidr": cidr}} for cidr in plan.store_cidrs),
            ],
            [HTTPS],
        ),
        **_traces(plan),
    }


def _traces(plan: RouterPlan) -> dict[str, Manifest]:
    """To a collector of traces in the cluster; one outside is behind HTTPS like everything outside."""
    if not plan.router.traces_stay_inside:
        return {}
    address = urlsplit(plan.router.otlp_endpoint or "")
    port = address.port or (HTTPS if address.scheme == "https" else HTTP)
    return {"allow-traces": _egress("allow-traces", [_MONITORING], [port], {"matchLabels": selector()})}


def public_addresses() -> Manifest:
    """Every address outside private networks."""
    return {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(_PRIVATE)}}


# What is opened to the router and its migration isn't opened to the jobs beside them (`hourly_floor_manifests`).
_NO_FLOOR_JOBS: Final = {
    "matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "NotIn", "values": [HOURLY_FLOOR]}]
}


def _egress(
    name: str, peers: Sequence[Mapping[str, Any]], ports: Sequence[int], pods: Mapping[str, Any] = _NO_FLOOR_JOBS
) -> Manifest:
    return {
        "metadata": meta(name),
        "spec": {
            "podSelector": dict(pods),
            "policyTypes": ["Egress"],
            "egress": [
                {"to": [dict(peer) for peer in peers], "ports": [{"protocol": "TCP", "port": port} for port in ports]}
            ],
        },
    }


def _to_pools(namespaces: Sequence[str]) -> Manifest:
    """To the model servers of exactly these pools."""
    return {
        "metadata": meta("allow-pools"),
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
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in plan.client_cidrs]
    return {
        "metadata": meta("allow-callers"),
        "spec": {
            "podSelector": {"matchLabels": selector()},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [tenants, *blocks], "ports": [{"protocol": "TCP", "port": API_PORT}]},
                {
                    "from": [_MONITORING, *({"ipBlock": {"cidr": cidr}} for cidr in plan.router_cidrs)],
                    "ports": [{"protocol": "TCP", "port": ADMIN_PORT}],
                },
            ],
        },
    }


def pool_namespaces(plan: RouterPlan) -> list[str]:
    """The namespaces of the dedicated pools."""
    return [serving.pool_namespace(pool) for pool in sorted(plan.settings.dedicated_pools)]
