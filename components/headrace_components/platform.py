"""HybridPlatform: one stack's settings as one component."""

from collections.abc import Mapping
from typing import Any, TypedDict, cast

import pulumi

from headrace.catalog import load
from headrace.rules.facts import PlatformFacts
from headrace.settings import Settings
from headrace.settings.load import load as load_settings
from headrace.settings.serverless import ServerlessProvider
from headrace_components import devices, images, inputs, tenancy
from headrace_components.audit_trail import AuditTrail, AuditTrailArgs
from headrace_components.cluster import GpuCluster, GpuClusterArgs
from headrace_components.data_stores import DataStores, DataStoresArgs
from headrace_components.hourly_floor import HourlyFloor, HourlyFloorArgs
from headrace_components.images import Registry
from headrace_components.network import PrivateNetwork, PrivateNetworkArgs
from headrace_components.place import Place, PlaceArgs, account_of, read_place
from headrace_components.pool import DedicatedPool, DedicatedPoolArgs
from headrace_components.pool_plan import release_facts, workload_facts
from headrace_components.router import Router, RouterArgs
from headrace_components.router_plan import ranges
from headrace_components.serverless import ServerlessEndpoint, ServerlessEndpointArgs
from headrace_components.spend import SpendGuard, SpendGuardArgs
from headrace_components.store import ModelStore, ModelStoreArgs
from headrace_components.tenant import TenantSpace, TenantSpaceArgs


class HybridPlatformArgs(TypedDict):
    """Arguments of `HybridPlatform`."""

    settings: dict[str, Any]
    """The whole tree of a stack's settings, keys as in the stack file (docs/settings.md)."""


class HybridPlatform(pulumi.ComponentResource):
    """Network, cluster, model store, pools, tenant spaces and budgets of one environment, from its settings."""

    cluster_name: pulumi.Output[str]
    """The EKS cluster."""
    kubeconfig: pulumi.Output[str]
    """What a user of the cluster needs; a secret."""
    model_bucket: pulumi.Output[str]
    """The bucket of model releases."""
    pool_urls: pulumi.Output[dict[str, str]]
    """Pool name -> where the cluster finds its model server."""
    serverless_urls: pulumi.Output[dict[str, str]]
    """Serverless pool -> base address of its OpenAI-compatible API."""
    serverless_headers: pulumi.Output[dict[str, dict[str, str]]]
    """Serverless pool -> headers that let a request in; a secret."""

    def __init__(self, name: str, args: HybridPlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs.require_plain(args["settings"], "settings")
        settings = load_settings(args["settings"])
        place_args: PlaceArgs = {
            "organization": settings.organization,
            "environment": settings.environment,
            "stage": settings.stage.value,
            "region": settings.region,
        }
        facts = platform_facts(name, read_place(place_args), settings).to_props()
        super().__init__("headrace:index:HybridPlatform", name, {"facts": facts}, opts)
        self._settings = settings
        self._common = {"place": place_args, "tags": dict(settings.tags)}
        # Children are asked for by this component's options, so they deploy to its account.
        self._options = pulumi.ResourceOptions(parent=self)
        self._account = account_of(opts)

        self.network = PrivateNetwork(
            "network",
            cast("PrivateNetworkArgs", {**self._common, **inputs.plain_args(settings.network)}),
            self._options,
        )
        self.store = self._model_store()
        self.cluster = self._gpu_cluster()
        in_cluster = pulumi.ResourceOptions(parent=self, providers=[self.cluster.provider])
        self.pools = {pool: self._dedicated_pool(pool, in_cluster) for pool in sorted(settings.dedicated_pools)}
        self.serverless = {
            pool: self._serverless_endpoint(pool, in_cluster) for pool in sorted(settings.serverless_pools)
        }
        self.router = self._router(in_cluster) if settings.router.image is not None else None
        self.spaces = [self._tenant_space(tenant, project, in_cluster) for tenant, project in tenant_projects(settings)]
        self.spend = self._spend_guard()

        self.cluster_name = self.cluster.cluster_name
        self.kubeconfig = self.cluster.kubeconfig
        self.model_bucket = self.store.bucket_name
        self.pool_urls = pulumi.Output.all(**{pool: made.service_url for pool, made in self.pools.items()})
        self.serverless_urls = pulumi.Output.all(**{pool: made.base_url for pool, made in self.serverless.items()})
        self.serverless_headers = pulumi.Output.all(
            **{pool: made.request_headers for pool, made in self.serverless.items()}
        )
        self.register_outputs(
            {
                "cluster_name": self.cluster_name,
                "kubeconfig": self.kubeconfig,
                "model_bucket": self.model_bucket,
                "pool_urls": self.pool_urls,
                "serverless_urls": self.serverless_urls,
                "serverless_headers": self.serverless_headers,
                "facts": facts,
            }
        )

    def _model_store(self) -> ModelStore:
        settings = self._settings
        source: dict[str, Any] = (
            {"vpc_id": self.network.vpc_id}
            if self.network.s3_gateway is None
            else {"s3_endpoint_id": self.network.s3_gateway}
        )
        return ModelStore(
            "models",
            cast(
                "ModelStoreArgs",
                {
                    **self._common,
                    **inputs.plain_args(settings.model_store),
                    **source,
                    "releases": {name: inputs.plain_args(one) for name, one in settings.releases.items()},
                    "images": self._images(),
                },
            ),
            self._options,
        )

    def _gpu_cluster(self) -> GpuCluster:
        settings = self._settings
        return GpuCluster(
            "gpu",
            cast(
                "GpuClusterArgs",
                {
                    **self._common,
                    **inputs.plain_args(settings.cluster),
                    "vpc_id": self.network.vpc_id,
                    "api_client_cidrs": list(settings.network.peered_cidrs),
                    "intra_subnet_ids": self.network.intra_by_zone,
                    "private_subnet_ids": self.network.private_by_zone,
                    "groups": access_groups(settings),
                    "cache_prefixes": sorted(settings.model_store.upstream_registries),
                },
            ),
            self._options,
        )

    def _dedicated_pool(self, pool: str, options: pulumi.ResourceOptions) -> DedicatedPool:
        settings = self._settings
        pool_settings = settings.dedicated_pools[pool]
        workload = settings.workload_of(pool_settings)
        return DedicatedPool(
            pool,
            cast(
                "DedicatedPoolArgs",
                {
                    **self._common,
                    **inputs.plain_args(pool_settings),
                    "cluster_name": self.cluster.cluster_name,
                    "cluster_version": self.cluster.plan.version,
                    "cluster_security_group_id": self.cluster.security_group_id,
                    "vpc_id": self.network.vpc_id,
                    "node_role_arn": self.cluster.node_role_arn,
                    "private_subnet_ids": self.network.private_by_zone,
                    "store_key_arn": self.store.key_arn,
                    "caches": dict(settings.model_store.upstream_registries),
                    "workload_settings": inputs.plain_args(workload),
                    "release_settings": inputs.plain_args(settings.releases[workload.release]),
                },
            ),
            options,
        )

    def _warm_up_pools(self) -> list[str]:
        """Pools whose minimum a job in the cluster sets (Modal's apps have a timer of their own)."""
        return [
            pool
            for pool, one in self._settings.serverless_pools.items()
            if one.warm_up and one.provider is ServerlessProvider.RUNPOD
        ]

    def _pools_with_changing_nodes(self) -> list[str]:
        """Pools beside whose model servers something keeps their number."""
        return [pool for pool, one in self._settings.dedicated_pools.items() if one.follows_nodes]

    def _serverless_endpoint(self, pool: str, options: pulumi.ResourceOptions) -> ServerlessEndpoint:
        settings = self._settings
        pool_settings = settings.serverless_pools[pool]
        workload = settings.workload_of(pool_settings)
        return ServerlessEndpoint(
            pool,
            cast(
                "ServerlessEndpointArgs",
                {
                    "place": self._common["place"],
                    **inputs.plain_args(pool_settings),
                    "workload_settings": inputs.plain_args(workload),
                    "release_settings": inputs.plain_args(settings.releases[workload.release]),
                    **({"warm_up_image": self._mapped(images.PYTHON)} if pool in self._warm_up_pools() else {}),
                },
            ),
            options,
        )

    def _data_stores(self) -> DataStores:
        settings = self._settings
        return DataStores(
            "data-stores",
            cast(
                "DataStoresArgs",
                {
                    **self._common,
                    **inputs.plain_args(settings.data_stores),
                    "vpc_id": self.network.vpc_id,
                    "subnet_ids": self.network.intra_by_zone,
                    "hourly_floor": bool(self._following()),
                },
            ),
            self._options,
        )

    def _audit_trail(self) -> AuditTrail:
        settings = self._settings
        return AuditTrail(
            "audit",
            cast("AuditTrailArgs", {**self._common, **inputs.plain_args(settings.audit)}),
            self._options,
        )

    def _following(self) -> list[str]:
        """Pools whose floor follows its traffic."""
        return sorted(pool for pool, one in self._settings.dedicated_pools.items() if one.hourly_floor is not None)

    def _hourly_floor(self, pool: str, floor_dsn: pulumi.Output[str], router: Router) -> HourlyFloor:
        """The job that sets a pool's nodes. It needs the router's namespace, configuration and tables."""
        settings = self._settings
        one, made = settings.dedicated_pools[pool], self.pools[pool]
        assert one.hourly_floor is not None  # noqa: S101 - `_following` names no other
        return HourlyFloor(
            f"floor-{pool}",
            cast(
                "HourlyFloorArgs",
                {
                    **self._common,
                    **inputs.plain_args(one.hourly_floor),
                    "pool": pool,
                    "workload": one.workload,
                    "floor_nodes": one.floor_nodes,
                    "ceiling_nodes": one.ceiling_nodes,
                    "replicas_per_node": made.replicas_per_node,
                    "image": settings.router.image,
                    "cluster_name": self.cluster.cluster_name,
                    "scaling_group_name": made.scaling_group_name,
                    "postgres_dsn": floor_dsn,
                    "store_cidrs": list(ranges(settings)[1]),
                    "caches": dict(settings.model_store.upstream_registries),
                },
            ),
            pulumi.ResourceOptions(parent=self, providers=[self.cluster.provider], depends_on=[router]),
        )

    def _router(self, options: pulumi.ResourceOptions) -> Router:
        """The router, with what its replicas share and where its records go; and what follows that traffic."""
        settings = self._settings
        stores, trail = self._data_stores(), self._audit_trail()
        router = Router(
            "router",
            cast(
                "RouterArgs",
                {
                    **self._common,
                    "settings": settings.model_dump(mode="json", by_alias=True),
                    "cluster_name": self.cluster.cluster_name,
                    "cluster_version": self.cluster.plan.version,
                    "cluster_security_group_id": self.cluster.security_group_id,
                    "client_security_group_id": stores.client_security_group_id,
                    "node_role_arn": self.cluster.node_role_arn,
                    "router_subnet_ids": self.network.router_by_zone,
                    "dedicated_urls": {pool: made.service_url for pool, made in self.pools.items()},
                    "dedicated_metrics_urls": {pool: made.metrics_url for pool, made in self.pools.items()},
                    "serverless_urls": {pool: made.base_url for pool, made in self.serverless.items()},
                    "serverless_headers": {pool: made.request_headers for pool, made in self.serverless.items()},
                    "redis_url": stores.redis_url,
                    "postgres_dsn": stores.postgres_dsn,
                    **({"floor_dsn": stores.floor_dsn} if self._following() else {}),
                    "master_secret_arn": stores.master_secret_arn,
                    "master_key_arn": stores.key_arn,
                    "audit_bucket": trail.bucket_name,
                    "audit_bucket_arn": trail.bucket_arn,
                    "audit_key_arn": trail.key_arn,
                    "alert_webhook_url": self._webhook(),
                    "caches": dict(settings.model_store.upstream_registries),
                },
            ),
            options,
        )
        self.floors = [self._hourly_floor(pool, stores.floor_dsn, router) for pool in self._following()]
        return router

    def _images(self) -> list[str]:
        """Images of ours that nodes pull beside the releases' own."""
        router = self._settings.router.image
        return [
            *devices.SYSTEM_IMAGES,
            *([images.PYTHON] if self._warm_up_pools() or self._pools_with_changing_nodes() else []),
            *([router] if router is not None else []),
        ]

    def _mapped(self, image: str) -> str:
        """`image` as the cluster's nodes pull it."""
        settings = self._settings
        registry = Registry(
            account_id=self._account.id,
            region=settings.region,
            caches=dict(settings.model_store.upstream_registries),
        )
        return registry.mapped(image)

    def _tenant_space(self, tenant: str, project: str, options: pulumi.ResourceOptions) -> TenantSpace:
        owner = self._settings.tenants[tenant]
        return TenantSpace(
            f"{tenant}-{project}",
            cast(
                "TenantSpaceArgs",
                {
                    "place": self._common["place"],
                    **inputs.plain_args(owner.projects[project]),
                    "tenant": tenant,
                    "project": project,
                    "tenant_budget_usd_per_month": owner.budget_usd_per_month,
                },
            ),
            options,
        )

    def _webhook(self) -> pulumi.Output[str] | None:
        """Who is told of budgets; a secret, for whoever knows it can post."""
        webhook = self._settings.budgets.alert_webhook_url
        return pulumi.Output.secret(webhook.get_secret_value()) if webhook else None

    def _spend_guard(self) -> SpendGuard:
        settings = self._settings
        plain = inputs.plain_args(settings.budgets)
        plain["alert_webhook_url"] = self._webhook()
        return SpendGuard(
            "spend",
            cast(
                "SpendGuardArgs",
                {
                    **self._common,
                    **plain,
                    "tenants": {
                        name: {
                            "budget_usd_per_month": tenant.budget_usd_per_month,
                            "projects": {project: one.budget_usd_per_month for project, one in tenant.projects.items()},
                        }
                        for name, tenant in settings.tenants.items()
                    },
                },
            ),
            self._options,
        )


def tenant_projects(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Every tenant and project, sorted."""
    return tuple(
        (tenant, project) for tenant, one in sorted(settings.tenants.items()) for project in sorted(one.projects)
    )


def access_groups(settings: Settings) -> dict[str, list[str]]:
    """IAM principal -> Kubernetes groups over all tenant spaces."""
    groups: dict[str, set[str]] = {}
    for tenant, project in tenant_projects(settings):
        access = settings.tenants[tenant].projects[project].access
        for role, arns in (
            ("admin", access.admin_principal_arns),
            ("deployer", access.deployer_principal_arns),
            ("viewer", access.viewer_principal_arns),
        ):
            for arn in arns:
                groups.setdefault(arn, set()).add(tenancy.group(tenant, project, role))
    return {arn: sorted(names) for arn, names in sorted(groups.items())}


def platform_facts(name: str, place: Place, settings: Settings) -> PlatformFacts:
    """What the platform is composed of, and the sums that rules hold against limits."""

    gpus: Mapping[str, int] = {
        pool: load.instance_types()[one.instance_type].gpu_count for pool, one in settings.dedicated_pools.items()
    }
    return PlatformFacts(
        **place.facts(),
        name=name,
        dedicated_pools=tuple(sorted(settings.dedicated_pools)),
        serverless_pools=tuple(sorted(settings.serverless_pools)),
        tenant_spaces=tuple(
            tenancy.namespace_name(tenant, project, place.environment) for tenant, project in tenant_projects(settings)
        ),
        workloads=tuple(workload_facts(key, one) for key, one in sorted(settings.workloads.items())),
        releases=tuple(release_facts(key, one) for key, one in sorted(settings.releases.items())),
        floor_gpus=sum(one.floor_nodes * gpus[pool] for pool, one in settings.dedicated_pools.items()),
        ceiling_gpus=sum(one.ceiling_nodes * gpus[pool] for pool, one in settings.dedicated_pools.items()),
        tenant_quota_gpus=sum(
            settings.tenants[tenant].projects[project].quota.gpus for tenant, project in tenant_projects(settings)
        ),
        environment_budget_usd_per_month=settings.budgets.environment_usd_per_month,
    )
