"""Headrace's Pulumi components. Each is one class in one module; `HybridPlatform` composes them from settings."""

from headrace_components.cluster import GpuCluster, GpuClusterArgs
from headrace_components.network import PrivateNetwork, PrivateNetworkArgs
from headrace_components.platform import HybridPlatform, HybridPlatformArgs
from headrace_components.pool import DedicatedPool, DedicatedPoolArgs
from headrace_components.spend import SpendGuard, SpendGuardArgs
from headrace_components.store import ModelStore, ModelStoreArgs
from headrace_components.tenant import TenantSpace, TenantSpaceArgs

__all__ = [
    "DedicatedPool",
    "DedicatedPoolArgs",
    "GpuCluster",
    "GpuClusterArgs",
    "HybridPlatform",
    "HybridPlatformArgs",
    "ModelStore",
    "ModelStoreArgs",
    "PrivateNetwork",
    "PrivateNetworkArgs",
    "SpendGuard",
    "SpendGuardArgs",
    "TenantSpace",
    "TenantSpaceArgs",
]
