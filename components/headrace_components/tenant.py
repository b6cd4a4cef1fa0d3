"""TenantSpace: the namespace of one tenant x project x environment, closed until opened."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from headrace.rules.facts import QuotaFacts, TenantSpaceFacts
from headrace.settings.base import Name, SettingsModel
from headrace.settings.tenants import Project
from headrace_components import inputs, kube, tenancy
from headrace_components.place import Place, PlaceArgs, read_place


class QuotaArgs(TypedDict):
    """What a namespace may ask for at once."""

    gpus: int
    """GPUs."""
    cpu_cores: float
    """CPU cores."""
    memory_gib: float
    """Memory in GiB."""
    pods: NotRequired[int]
    """Pods, 50 by default."""
    objects: NotRequired[int]
    """Objects of each counted kind, 100 by default."""


class AccessArgs(TypedDict):
    """IAM principals behind each role. They reach the cluster through its access entries (`GpuCluster.groups`)."""

    admin_principal_arns: NotRequired[list[str]]
    """Who administers the space."""
    deployer_principal_arns: NotRequired[list[str]]
    """Who deploys to it."""
    viewer_principal_arns: NotRequired[list[str]]
    """Who looks at it."""


class TenantSpaceArgs(TypedDict):
    """Arguments of `TenantSpace`."""

    place: PlaceArgs
    """Where the space belongs."""
    tenant: str
    """The tenant."""
    project: str
    """The tenant's project."""
    tenant_budget_usd_per_month: float
    """What all projects of the tenant together may spend in a month."""
    budget_usd_per_month: float
    """What the project may spend in a month."""
    quota: QuotaArgs
    """What the namespace may ask for at once."""
    pod_security: NotRequired[str]
    """`restricted` (default) or `baseline`."""
    access: NotRequired[AccessArgs]
    """Who may do what in it."""


class _Names(SettingsModel):
    tenant: Name
    project: Name
    tenant_budget_usd_per_month: float


class TenantSpace(pulumi.ComponentResource):
    """A namespace with a Pod Security level, roles for its people, a quota, default limits, and no traffic but what the
    tenant needs: its own pods, DNS and the router."""

    namespace: pulumi.Output[str]
    """Name of the namespace."""

    def __init__(self, name: str, args: TenantSpaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        names = inputs.read(_Names, args, f"tenants.{args['tenant']}")
        project = inputs.read(Project, args, f"tenants.{names.tenant}.projects.{names.project}")
        facts = tenant_facts(place, names.tenant, names.project, project, names.tenant_budget_usd_per_month).to_props()
        super().__init__("headrace:index:TenantSpace", name, {"facts": facts}, opts)
        space = tenancy.namespace_name(names.tenant, names.project, place.environment)
        marks = tenancy.labels(names.tenant, names.project, place.environment)
        namespace = kubernetes.core.v1.Namespace(
            name,
            opts=pulumi.ResourceOptions(parent=self),
            **kube.properties(tenancy.namespace(space, marks, project.pod_security)),
        )
        within = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        kubernetes.core.v1.ResourceQuota(
            name, opts=within, **kube.properties(tenancy.resource_quota(space, marks, project.quota))
        )
        kubernetes.core.v1.LimitRange(
            name, opts=within, **kube.properties(tenancy.limit_range(space, marks, project.quota))
        )
        for policy in (
            tenancy.default_deny,
            tenancy.allow_dns,
            tenancy.allow_own_namespace,
            tenancy.allow_router,
        ):
            manifest = policy(space, marks)
            kubernetes.networking.v1.NetworkPolicy(
                f"{name}-{manifest['metadata']['name']}", opts=within, **kube.properties(manifest)
            )
        for role in tenancy.ROLES:
            kubernetes.rbac.v1.Role(f"{name}-{role}", opts=within, **kube.properties(tenancy.role(space, marks, role)))
            kubernetes.rbac.v1.RoleBinding(
                f"{name}-{role}",
                opts=within,
                **kube.properties(
                    tenancy.role_binding(space, marks, role, tenancy.group(names.tenant, names.project, role))
                ),
            )
        self.namespace = pulumi.Output.from_input(space)
        self.register_outputs({"namespace": self.namespace, "facts": facts})


def tenant_facts(
    place: Place, tenant: str, project_name: str, project: Project, tenant_budget: float
) -> TenantSpaceFacts:
    """What the space is, as settings say it."""
    return TenantSpaceFacts(
        **place.facts(),
        tenant=tenant,
        project=project_name,
        namespace=tenancy.namespace_name(tenant, project_name, place.environment),
        pod_security=project.pod_security.value,
        quota=QuotaFacts(
            gpus=project.quota.gpus,
            cpu_cores=project.quota.cpu_cores,
            memory_gib=project.quota.memory_gib,
            pods=project.quota.pods,
            objects=project.quota.objects,
        ),
        limit_range=True,
        network_default_deny=True,
        rbac_roles=tenancy.ROLES,
        rbac_wildcards=any(
            "*" in (*rule["resources"], *rule["verbs"], *rule["apiGroups"])
            for role in tenancy.ROLES
            for rule in tenancy.role_rules(role)
        ),
        admin_principal_arns=tuple(project.access.admin_principal_arns),
        deployer_principal_arns=tuple(project.access.deployer_principal_arns),
        viewer_principal_arns=tuple(project.access.viewer_principal_arns),
        budget_usd_per_month=project.budget_usd_per_month,
        tenant_budget_usd_per_month=tenant_budget,
    )
