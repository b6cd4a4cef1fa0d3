"""GpuCluster: EKS with a private endpoint, and the small CPU node group that the cluster itself needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from headrace.catalog import load
from headrace.errors import Refused, refuse
from headrace.rules.facts import ClusterFacts
from headrace.settings.checks.offers import cluster_problems
from headrace.settings.cluster import ClusterSettings
from headrace_components import devices, documents, firewall, inputs, logs, nodes
from headrace_components.kubeconfig import kubeconfig
from headrace_components.place import Place, PlaceArgs, account_of, read_place
from headrace_components.tags import cost_tags, named

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
SERVICE_CIDR = "172.20.0.0/16"
# Add-ons that every node needs before its first pod, and those that need a node to run on: EKS calls the latter
# degraded until one exists.
BEFORE_NODES = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
AFTER_NODES = ("coredns", "metrics-server", "aws-ebs-csi-driver", "eks-node-monitoring-agent")
ADDONS = BEFORE_NODES + AFTER_NODES
# Service accounts of add-ons that call AWS, and the managed policy of each.
ADDON_ROLES = {
    "vpc-cni": ("aws-node", "AmazonEKS_CNI_Policy"),
    "aws-ebs-csi-driver": ("ebs-csi-controller-sa", "service-role/AmazonEBSCSIDriverPolicy"),
}
NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore")


class GpuClusterArgs(TypedDict):
    """Arguments of `GpuCluster`."""

    place: PlaceArgs
    """Where the cluster belongs."""
    intra_subnet_ids: dict[str, pulumi.Input[str]]
    """Subnets for the control plane's interfaces by zone."""
    private_subnet_ids: dict[str, pulumi.Input[str]]
    """Subnets for nodes by zone."""
    admin_principal_arns: list[str]
    """IAM roles that administer the cluster. The role that deploys the stack must be among them."""
    version: NotRequired[str]
    """Kubernetes version; the catalogue's default otherwise."""
    public_access_cidrs: NotRequired[list[str]]
    """Networks that may reach the API endpoint from the internet; none by default, then the endpoint is private."""
    vpc_id: NotRequired[pulumi.Input[str]]
    """The VPC of the subnets; needed with `api_client_cidrs`."""
    api_client_cidrs: NotRequired[list[str]]
    """Private networks, routed to the VPC, that may reach the private API endpoint: of pipelines, of a VPN. Else only
    the cluster's own machines may."""
    addon_versions: NotRequired[dict[str, str]]
    """Versions of add-ons that differ from the catalogue's."""
    log_retention_days: NotRequired[int]
    """Days to keep control-plane logs, one year by default."""
    deletion_protection: NotRequired[bool]
    """Whether AWS refuses to delete the cluster, true by default."""
    system_instance_type: NotRequired[str]
    """CPU machines for the cluster's own pods."""
    system_nodes: NotRequired[int]
    """How many of them."""
    groups: NotRequired[dict[str, list[str]]]
    """IAM principal ARN -> Kubernetes groups: tenants' people. One entry per principal is all that EKS allows, so the
    cluster makes them, not the tenant spaces."""
    cache_prefixes: NotRequired[list[str]]
    """Repository prefixes of pull-through caches that nodes may fill."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class GpuCluster(pulumi.ComponentResource):
    """An EKS cluster with a private endpoint, envelope encryption of secrets, access entries instead of a ConfigMap,
    every control-plane log, deletion protection, pinned add-ons and Pod Identity."""

    cluster_name: pulumi.Output[str]
    """Name of the cluster."""
    kubeconfig: pulumi.Output[str]
    """What a user of the cluster needs; a secret, though it holds no credential but the command that fetches one."""
    security_group_id: pulumi.Output[str]
    """The security group that EKS puts on the control plane and on nodes."""
    node_role_arn: pulumi.Output[str]
    """The role of every node of the cluster."""

    def __init__(self, name: str, args: GpuClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        settings = inputs.read(ClusterSettings, args, "cluster")
        inputs.require_plain(args.get("groups"), "cluster.groups")
        inputs.require_plain(args.get("api_client_cidrs"), "cluster.apiClientCidrs")
        plan = plan_cluster(f"{place.prefix}-{name}", settings)
        facts = cluster_facts(place, settings, plan, tuple(args["private_subnet_ids"])).to_props()
        super().__init__("headrace:index:GpuCluster", name, {"facts": facts}, opts)
        self._options = pulumi.ResourceOptions(parent=self)
        self._tags = cost_tags(place.owner(), "cluster", args.get("tags"))
        self._place = place
        self._account = account_of(opts)
        self.plan = plan

        cluster = self._control_plane(
            name, settings, list(args["intra_subnet_ids"].values()), self._clients(name, args)
        )
        self.cluster_name = cluster.name
        self.security_group_id = cluster.vpc_config.cluster_security_group_id.apply(str)
        ready = self._access(name, cluster, settings, args.get("groups", {}))
        before = self._addons(name, cluster, BEFORE_NODES, [])
        self.node_role_arn = self._node_role(name, args.get("cache_prefixes", []))
        system = self._system_nodes(name, settings, args["private_subnet_ids"], before)
        self._addons(name, cluster, AFTER_NODES, [system])
        self.kubeconfig = pulumi.Output.secret(
            pulumi.Output.all(cluster.name, cluster.endpoint, cluster.certificate_authority.data).apply(
                lambda parts: kubeconfig(
                    cluster=parts[0], endpoint=parts[1], certificate_authority=parts[2], region=place.region
                )
            )
        )
        # Without its access entry the provider's identity would be unknown to the cluster, hence the dependency.
        self.provider = kubernetes.Provider(
            name,
            kubeconfig=self.kubeconfig,
            enable_server_side_apply=True,
            # Else a change would delete the object under the pods that mount it; what must not change under them has
            # its content's digest in its name and is immutable.
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=ready),
        )
        kubernetes.core.v1.Namespace(
            f"{name}-{devices.SYSTEM_NAMESPACE}",
            metadata={
                "name": devices.SYSTEM_NAMESPACE,
                "labels": {
                    "app.kubernetes.io/managed-by": "headrace",
                    # Device plugin and exporter need the host's sockets; nobody else may deploy here.
                    "pod-security.kubernetes.io/enforce": "privileged",
                    "headrace.dev/role": "monitoring",
                },
            },
            opts=pulumi.ResourceOptions(parent=self, provider=self.provider),
        )
        self.register_outputs(
            {
                "cluster_name": self.cluster_name,
                "kubeconfig": self.kubeconfig,
                "security_group_id": self.security_group_id,
                "node_role_arn": self.node_role_arn,
                "facts": facts,
            }
        )

    def _clients(self, name: str, args: GpuClusterArgs) -> list[pulumi.Input[str]]:
        """A group of the control plane's interfaces alone: EKS's own group, which nodes share, admits only itself, so
        the endpoint would be out of reach from any other network that is routed here."""
        cidrs, vpc_id = args.get("api_client_cidrs"), args.get("vpc_id")
        if not cidrs:
            return []
        if vpc_id is None:
            raise refuse(
                "cluster.vpcId",
                None,
                "must be given with apiClientCidrs",
                reason="the security group that admits them lies in that VPC",
                next_step="pass PrivateNetwork's `vpc_id`",
            )
        group = aws.ec2.SecurityGroup(
            f"{name}-api",
            vpc_id=vpc_id,
            description=f"Kubernetes API of {self.plan.name}: HTTPS from the networks that may deploy",
            tags=named(self._tags, f"{self.plan.name}-api"),
            opts=self._options,
        )
        for cidr in sorted(set(cidrs)):
            rule = f"{name}-api-{cidr.replace('/', '-')}"
            firewall.admit_https(self, rule, group.id, cidr, f"Kubernetes API from {cidr}", self._tags)
        return [group.id]

    def _control_plane(
        self,
        name: str,
        settings: ClusterSettings,
        subnet_ids: list[pulumi.Input[str]],
        security_group_ids: list[pulumi.Input[str]],
    ) -> aws.eks.Cluster:
        log_group = logs.log_group(
            self,
            f"{name}-control-plane",
            account=self._account,
            region=self._place.region,
            # The name that EKS writes to; made here, it has a retention and a key.
            log_group_name=f"/aws/eks/{self.plan.name}/cluster",
            retention_days=settings.log_retention_days,
            tags=self._tags,
        )
        key = logs.encryption_key(
            self,
            f"{name}-secrets",
            f"Kubernetes secrets of {self.plan.name}",
            documents.key_policy(self._account),
            f"headrace/eks/{self.plan.name}",
            self._tags,
        )
        role = aws.iam.Role(
            f"{name}-control-plane",
            assume_role_policy=documents.trust("eks.amazonaws.com"),
            description=f"Control plane of {self.plan.name}",
            tags=self._tags,
            opts=self._options,
        )
        attached = aws.iam.RolePolicyAttachment(
            f"{name}-control-plane",
            role=role.name,
            policy_arn=self._account.managed_policy("AmazonEKSClusterPolicy"),
            opts=self._options,
        )
        key_use = aws.iam.RolePolicy(
            f"{name}-control-plane-key",
            role=role.name,
            policy=key.arn.apply(documents.cluster_key_use),
            opts=self._options,
        )
        public = list(settings.public_access_cidrs)
        return aws.eks.Cluster(
            name,
            name=self.plan.name,
            role_arn=role.arn,
            version=self.plan.version,
            vpc_config=aws.eks.ClusterVpcConfigArgs(
                subnet_ids=subnet_ids,
                security_group_ids=security_group_ids or None,
                endpoint_private_access=True,
                endpoint_public_access=bool(public),
                public_access_cidrs=public or None,
            ),
            access_config={
                "authentication_mode": "API",
                # Whoever creates the cluster would else stay an administrator that no setting names.
                "bootstrap_cluster_creator_admin_permissions": False,
            },
            encryption_config={"provider": {"key_arn": key.arn}, "resources": ["secrets"]},
            enabled_cluster_log_types=list(LOG_TYPES),
            deletion_protection=settings.deletion_protection,
            # No extended support: an outdated version is a task, not a sixfold fee that nobody notices.
            upgrade_policy={"support_type": "STANDARD"},
            zonal_shift_config={"enabled": True},
            kubernetes_network_config={"ip_family": "ipv4", "service_ipv4_cidr": SERVICE_CIDR},
            # Add-ons are declared below; the self-managed ones would stand in their way.
            bootstrap_self_managed_addons=False,
            tags=named(self._tags, self.plan.name),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[attached, key_use, log_group]),
        )

    def _access(
        self, name: str, cluster: aws.eks.Cluster, settings: ClusterSettings, groups: Mapping[str, list[str]]
    ) -> list[pulumi.Resource]:
        """One entry per principal; administrators get their policy. Returns what an administrator's login needs."""
        admins = sorted(set(settings.admin_principal_arns))
        ready: list[pulumi.Resource] = []
        for arn in sorted({*admins, *groups}):
            suffix = access_name(arn)
            entry = aws.eks.AccessEntry(
                f"{name}-{suffix}",
                cluster_name=cluster.name,
                principal_arn=arn,
                type="STANDARD",
                kubernetes_groups=sorted(groups.get(arn, [])),
                tags=self._tags,
                opts=self._options,
            )
            if arn in admins:
                ready.append(
                    aws.eks.AccessPolicyAssociation(
                        f"{name}-{suffix}-admin",
                        cluster_name=cluster.name,
                        principal_arn=entry.principal_arn,
                        policy_arn=self._account.cluster_access_policy("AmazonEKSClusterAdminPolicy"),
                        access_scope={"type": "cluster"},
                        opts=self._options,
                    )
                )
        return ready

    def _addons(
        self, name: str, cluster: aws.eks.Cluster, addons: tuple[str, ...], after: list[pulumi.Resource]
    ) -> list[pulumi.Resource]:
        return [
            aws.eks.Addon(
                f"{name}-{addon}",
                cluster_name=cluster.name,
                addon_name=addon,
                addon_version=self.plan.addon_versions[addon],
                # At creation nothing of ours is there to lose; later an edit by hand stops the update instead.
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="NONE",
                configuration_values=addon_configuration(addon, self._tags),
                pod_identity_associations=self._addon_identity(name, addon),
                tags=self._tags,
                opts=pulumi.ResourceOptions(parent=self, depends_on=after),
            )
            for addon in addons
        ]

    def _addon_identity(self, name: str, addon: str) -> list[aws.eks.AddonPodIdentityAssociationArgsDict] | None:
        if addon not in ADDON_ROLES:
            return None
        account, policy = ADDON_ROLES[addon]
        role = aws.iam.Role(
            f"{name}-{addon}",
            assume_role_policy=documents.pod_identity_trust(self._account, self._place.region, self.plan.name),
            description=f"Add-on {addon} of {self.plan.name}",
            tags=self._tags,
            opts=self._options,
        )
        aws.iam.RolePolicyAttachment(
            f"{name}-{addon}",
            role=role.name,
            policy_arn=self._account.managed_policy(policy),
            opts=self._options,
        )
        return [{"role_arn": role.arn, "service_account": account}]

    def _node_role(self, name: str, cache_prefixes: list[str]) -> pulumi.Output[str]:
        """One role for all nodes. Pods have identities of their own, so it may do no more than run a node."""
        role = aws.iam.Role(
            f"{name}-node",
            assume_role_policy=documents.trust("ec2.amazonaws.com"),
            description=f"Nodes of {self.plan.name}",
            tags=self._tags,
            opts=self._options,
        )
        rights: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                f"{name}-node-{policy}",
                role=role.name,
                policy_arn=self._account.managed_policy(policy),
                opts=self._options,
            )
            for policy in NODE_POLICIES
        ]
        if cache_prefixes:
            rights.append(
                aws.iam.RolePolicy(
                    f"{name}-node-cache",
                    role=role.name,
                    policy=documents.cache_pull_policy(self._account, self._place.region, cache_prefixes),
                    opts=self._options,
                )
            )
        # A node that starts before its rights are attached never joins.
        arn: pulumi.Output[str] = pulumi.Output.all(role.arn, *(right.urn for right in rights)).apply(
            lambda parts: str(parts[0])
        )
        return arn

    def _system_nodes(
        self,
        name: str,
        settings: ClusterSettings,
        subnets: Mapping[str, pulumi.Input[str]],
        after: list[pulumi.Resource],
    ) -> aws.eks.NodeGroup:
        """GPU nodes refuse pods that ask for no GPU, so the cluster's own pods and the router live here."""
        template = aws.ec2.LaunchTemplate(
            f"{name}-system",
            tags=self._tags,
            opts=self._options,
            **nodes.launch_template(
                nodes.SYSTEM_IMAGE, nodes.SYSTEM_VOLUME_GIB, named(self._tags, f"{self.plan.name}-system")
            ),
        )
        return aws.eks.NodeGroup(
            f"{name}-system",
            cluster_name=self.cluster_name,
            node_group_name=nodes.replaceable_name("system", settings.system_instance_type, tuple(subnets)),
            node_role_arn=self.node_role_arn,
            subnet_ids=list(subnets.values()),
            instance_types=[settings.system_instance_type],
            ami_type=nodes.SYSTEM_IMAGE.ami_type,
            capacity_type="ON_DEMAND",
            scaling_config={
                "min_size": settings.system_nodes,
                "desired_size": settings.system_nodes,
                "max_size": settings.system_nodes + 1,
            },
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels={"headrace.dev/tier": "system"},
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            version=self.plan.version,
            tags=named(self._tags, f"{self.plan.name}-system"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=after),
        )


@dataclass(frozen=True, kw_only=True)
class ClusterPlan:
    """What settings and the catalogue decide before anything is created."""

    name: str
    version: str
    end_of_support: str | None
    addon_versions: dict[str, str]


def plan_cluster(name: str, settings: ClusterSettings) -> ClusterPlan:
    """Version and add-on versions; refuses a cluster that nobody could administer or whose add-ons float."""
    if problems := tuple(cluster_problems(settings)):
        raise Refused(*problems)
    row = load.eks_versions().get(settings.version) if settings.version else load.default_eks_version()
    version = settings.version or load.default_eks_version().name
    pinned = {addon.name: addon.version for addon in load.eks_addons().values()} | settings.addon_versions
    return ClusterPlan(
        name=name,
        version=version,
        end_of_support=row.end_of_standard_support.isoformat() if row else None,
        addon_versions={addon: pinned[addon] for addon in ADDONS},
    )


def addon_configuration(addon: str, tags: Mapping[str, str]) -> str | None:
    """Configuration values of an add-on as JSON, None where its defaults serve."""
    if addon == "vpc-cni":
        # Network policy is what tenant spaces rely on; prefixes keep address allocation fast on nodes with many pods.
        return json.dumps(
            {"enableNetworkPolicy": "true", "env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"}},
            sort_keys=True,
        )
    if addon == "aws-ebs-csi-driver":
        # Volumes made by the driver are no Pulumi resources; their cost must still be counted.
        return json.dumps({"controller": {"extraVolumeTags": dict(tags)}}, sort_keys=True)
    return None


def access_name(arn: str) -> str:
    """A principal as part of a resource name: `role-Deployer` of `arn:aws:iam::…:role/Deployer`."""
    return arn.split(":", 5)[-1].replace("/", "-")


def cluster_facts(place: Place, settings: ClusterSettings, plan: ClusterPlan, zones: tuple[str, ...]) -> ClusterFacts:
    """What the cluster is, as settings and the catalogue say it."""
    return ClusterFacts(
        **place.facts(),
        name=plan.name,
        version=plan.version,
        end_of_standard_support=plan.end_of_support,
        endpoint_private=True,
        endpoint_public=bool(settings.public_access_cidrs),
        public_access_cidrs=tuple(settings.public_access_cidrs),
        secrets_encrypted=True,
        key_rotation=True,
        authentication_mode="API",
        log_types=LOG_TYPES,
        log_retention_days=settings.log_retention_days,
        logs_encrypted=True,
        deletion_protection=settings.deletion_protection,
        admin_principal_arns=tuple(sorted(set(settings.admin_principal_arns))),
        addon_versions=plan.addon_versions,
        system_instance_type=settings.system_instance_type,
        system_nodes=settings.system_nodes,
        zones=zones,
    )
