"""Headrace's Pulumi components. Each is one class in one module; `HybridPlatform` composes them from settings.

A component is imported when it is first named: the cloud SDKs behind them take seconds, and the plugin that shares this
package serves resources without any of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headrace_components.audit_trail import AuditTrail, AuditTrailArgs
    from headrace_components.cluster import GpuCluster, GpuClusterArgs
    from headrace_components.data_stores import DataStores, DataStoresArgs
    from headrace_components.hourly_floor import HourlyFloor, HourlyFloorArgs
    from headrace_components.network import PrivateNetwork, PrivateNetworkArgs
    from headrace_components.platform import HybridPlatform, HybridPlatformArgs
    from headrace_components.pool import DedicatedPool, DedicatedPoolArgs
    from headrace_components.router import Router, RouterArgs
    from headrace_components.serverless import ServerlessEndpoint, ServerlessEndpointArgs
    from headrace_components.spend import SpendGuard, SpendGuardArgs
    from headrace_components.store import ModelStore, ModelStoreArgs
    from headrace_components.tenant import TenantSpace, TenantSpaceArgs

_MODULES: Final = {
    "AuditTrail": "audit_trail",
    "DataStores": "data_stores",
    "DedicatedPool": "pool",
    "GpuCluster": "cluster",
    "HourlyFloor": "hourly_floor",
    "HybridPlatform": "platform",
    "ModelStore": "store",
    "PrivateNetwork": "network",
    "Router": "router",
    "ServerlessEndpoint": "serverless",
    "SpendGuard": "spend",
    "TenantSpace": "tenant",
}
COMPONENTS: Final = tuple(_MODULES)


def __getattr__(name: str) -> object:
    module = _MODULES.get(name.removesuffix("Args"))
    if module is None:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


__all__ = [
    "COMPONENTS",
    "AuditTrail",
    "AuditTrailArgs",
    "DataStores",
    "DataStoresArgs",
    "DedicatedPool",
    "DedicatedPoolArgs",
    "GpuCluster",
    "GpuClusterArgs",
    "HourlyFloor",
    "HourlyFloorArgs",
    "HybridPlatform",
    "HybridPlatformArgs",
    "ModelStore",
    "ModelStoreArgs",
    "PrivateNetwork",
    "PrivateNetworkArgs",
    "Router",
    "RouterArgs",
    "ServerlessEndpoint",
    "ServerlessEndpointArgs",
    "SpendGuard",
    "SpendGuardArgs",
    "TenantSpace",
    "TenantSpaceArgs",
]
