"""DedicatedPool: GPU nodes on reserved or on-demand capacity, and the model server that runs on them."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, cast

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from headrace.settings.dedicated import DedicatedPool as PoolSettings
from headrace.settings.releases import ModelRelease, Workload
from headrace_components import devices, documents, follower, images, inputs, kube, nodes, serving
from headrace_components.images import Registry
from headrace_components.place import PlaceArgs, account_of, read_place
from headrace_components.pool_plan import plan_pool
from headrace_components.tags import SHARED, cost_tags, named


class CapacityArgs(TypedDict):
    """Where a pool's machines come from."""

    type: NotRequired[str]
    """`on-demand` (default), `reservation` or `capacity-block`."""
    reservation_id: NotRequired[str]
    """Id of the reservation or block."""
    zone: NotRequired[str]
    """Its zone."""


class ScheduleArgs(TypedDict):
    """Scaling bounds from a time on."""

    name: str
    """Name of the schedule."""
    cron: str
    """When, as a cron expression of five fields."""
    time_zone: NotRequired[str]
    """IANA time zone of `cron`, UTC by default."""
    floor_nodes: int
    """Nodes from then on."""
    ceiling_nodes: int
    """The most nodes from then on."""


class HourlyFloorSettingsArgs(TypedDict):
    """A floor that follows its traffic."""

    lead_time_s: NotRequired[int]
    """Seconds until a new node serves."""


class DedicatedPoolArgs(TypedDict):
    """Arguments of `DedicatedPool`."""

    place: PlaceArgs
    """Where the pool belongs."""
    cluster_name: pulumi.Input[str]
    """The cluster that the nodes join."""
    cluster_version: str
    """Its Kubernetes version, which the nodes' image must have."""
    cluster_security_group_id: pulumi.Input[str]
    """The security group that EKS gives to nodes."""
    vpc_id: pulumi.Input[str]
    """The cluster's VPC."""
    node_role_arn: pulumi.Input[str]
    """Role of the nodes."""
    private_subnet_ids: dict[str, pulumi.Input[str]]
    """Private subnets by zone."""
    store_key_arn: pulumi.Input[str]
    """The key that encrypts model releases."""
    caches: NotRequired[dict[str, str]]
    """Repository prefix -> upstream registry of the account's pull-through caches."""
    workload: str
    """Name of the workload."""
    workload_settings: dict[str, Any]
    """The workload as settings describe it."""
    release_settings: dict[str, Any]
    """The model release that the workload names."""
    instance_type: str
    """EC2 instance type with NVIDIA GPUs."""
    capacity: NotRequired[CapacityArgs]
    """On-demand machines by default."""
    floor_nodes: int
    """Nodes that always run."""
    ceiling_nodes: int
    """The most nodes that a schedule may ask for."""
    schedules: NotRequired[list[ScheduleArgs]]
    """Bounds by time of day or week."""
    hourly_floor: NotRequired[HourlyFloorSettingsArgs]
    """Set where `HourlyFloor` sets the nodes: then a deployment leaves them as they are."""
    zones: NotRequired[list[str]]
    """Zones of the nodes, all of the network by default."""
    node_image: NotRequired[str]
    """`al2023-nvidia` (default) or `bottlerocket-nvidia`."""
    node_release_version: NotRequired[str]
    """Release of the node image; it decides the GPU driver."""
    root_volume_gib: NotRequired[int]
    """Size of the volume that holds images and pods."""
    replicas: NotRequired[int]
    """Model servers; as many as the floor's GPUs hold by default."""
    slots_per_replica: NotRequired[int]
    """Requests that one model server takes at once."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class DedicatedPool(pulumi.ComponentResource):
    """A managed node group of GPU machines with driver, device plugin and metrics, and the model server of one workload
    on them: Deployment, Service, disruption budget, probes, and the image held on every node."""

    service_url: pulumi.Output[str]
    """Where the cluster finds the model server (OpenAI-compatible, without the `/v1`)."""
    metrics_url: pulumi.Output[str]
    """A name whose addresses are the model servers themselves, each with metrics of its own."""
    node_group_name: pulumi.Output[str]
    """The EKS node group."""
    reader_role_arn: pulumi.Output[str]
    """The role by which the pool's pods read their release."""
    scaling_group_name: pulumi.Output[str]
    """The Auto Scaling group of the nodes."""

    def __init__(self, name: str, args: DedicatedPoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        inputs.require_plain(args["workload_settings"], f"dedicatedPools.{name}.workloadSettings")
        inputs.require_plain(args["release_settings"], f"dedicatedPools.{name}.releaseSettings")
        plan = plan_pool(
            name,
            place,
            settings=inputs.read(PoolSettings, args, f"dedicatedPools.{name}"),
            workload=inputs.read_model(Workload, args["workload_settings"], f"workloads.{args['workload']}"),
            release=inputs.read_model(ModelRelease, args["release_settings"], f"dedicatedPools.{name}.release"),
            kubernetes_version=args["cluster_version"],
            network_zones=tuple(args["private_subnet_ids"]),
        )
        facts = plan.facts.to_props()
        super().__init__("headrace:index:DedicatedPool", name, {"facts": facts}, opts)
        self._name = name
        self._options = pulumi.ResourceOptions(parent=self)
        self._tags = cost_tags(
            place.owner(tenant=SHARED, project=plan.settings.workload),
            f"pool-{name}",
            args.get("tags"),
        )
        self._place = place
        self._account = account_of(opts)
        self._registry = Registry(account_id=self._account.id, region=place.region, caches=dict(args.get("caches", {})))
        self._plan = plan
        self._args = args

        group = self._node_group()
        self.scaling_group_name = group.resources.apply(autoscaling_group_name)
        self._schedules()
        reader = self._reader_role()
        self._device_software(group)
        self._model_server(group, reader)
        self.node_group_name = group.node_group_name
        self.replicas_per_node = plan.replicas_per_node
        within_cluster = f"{plan.facts.namespace}.svc.cluster.local:{serving.PORT}"
        self.service_url = pulumi.Output.from_input(f"http://model-server.{within_cluster}")
        self.metrics_url = pulumi.Output.from_input(f"http://model-server-replicas.{within_cluster}/metrics")
        self.register_outputs(
            {
                "service_url": self.service_url,
                "metrics_url": self.metrics_url,
                "node_group_name": self.node_group_name,
                "reader_role_arn": self.reader_role_arn,
                "scaling_group_name": self.scaling_group_name,
                "facts": facts,
            }
        )

    def _launch_template(self) -> aws.ec2.LaunchTemplate:
        plan, settings = self._plan, self._plan.settings
        image = nodes.IMAGES[settings.node_image]
        interfaces = nodes.efa_interfaces(plan.instance)
        properties = nodes.launch_template(
            image, settings.root_volume_gib, named(self._tags, f"{self._place.prefix}-{self._name}")
        )
        properties |= nodes.market(settings.capacity)
        if interfaces:
            groups = [self._args["cluster_security_group_id"], self._efa_group()]
            properties["network_interfaces"] = [{**interface, "security_groups": groups} for interface in interfaces]
        user_data = nodes.user_data(image, plan.instance.nvme_gb)
        if user_data is not None:
            properties["user_data"] = nodes.base64_text(user_data)
        return aws.ec2.LaunchTemplate(self._name, tags=self._tags, opts=self._options, **properties)

    def _efa_group(self) -> pulumi.Output[str]:
        """EFA traffic bypasses IP, so AWS lets it pass only between members of one group, in and out."""
        group = aws.ec2.SecurityGroup(
            f"{self._name}-efa",
            vpc_id=self._args["vpc_id"],
            description=f"EFA between the nodes of pool {self._name}",
            tags=named(self._tags, f"{self._place.prefix}-{self._name}-efa"),
            opts=self._options,
        )
        for kind, rule in (
            ("in", aws.vpc.SecurityGroupIngressRule),
            ("out", aws.vpc.SecurityGroupEgressRule),
        ):
            rule(
                f"{self._name}-efa-{kind}",
                security_group_id=group.id,
                referenced_security_group_id=group.id,
                ip_protocol="-1",
                description="EFA within the pool",
                tags=self._tags,
                opts=self._options,
            )
        return group.id

    def _node_group(self) -> aws.eks.NodeGroup:
        plan, settings = self._plan, self._plan.settings
        template = self._launch_template()
        return aws.eks.NodeGroup(
            self._name,
            cluster_name=self._args["cluster_name"],
            node_group_name=self._name,
            node_role_arn=self._args["node_role_arn"],
            subnet_ids=[self._args["private_subnet_ids"][zone] for zone in plan.zones],
            instance_types=[settings.instance_type],
            ami_type=nodes.IMAGES[settings.node_image].ami_type,
            capacity_type=nodes.EKS_CAPACITY_TYPE[settings.capacity.type],
            scaling_config={
                "min_size": settings.floor_nodes,
                "desired_size": settings.floor_nodes,
                "max_size": settings.ceiling_nodes,
            },
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels={
                **nodes.labels(
                    self._name, settings.workload, self._place.environment, plan.instance, settings.capacity
                ),
                **devices.OPERATOR_OFF_LABELS,
            },
            taints=[cast("aws.eks.NodeGroupTaintArgsDict", dict(nodes.GPU_TAINT))],
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            version=self._args["cluster_version"],
            release_version=settings.node_release_version,
            tags=named(self._tags, f"{self._place.prefix}-{self._name}"),
            opts=pulumi.ResourceOptions(
                parent=self,
                # Between two schedules the group has as many nodes as the last one said, and with an hourly floor as
                # the hour's decision says; setting it back to the floor in the middle of a peak would stop serving.
                ignore_changes=["scalingConfig.desiredSize"] if settings.follows_nodes else None,
            ),
        )

    def _schedules(self) -> None:
        for schedule in self._plan.settings.schedules:
            aws.autoscaling.Schedule(
                f"{self._name}-{schedule.name}",
                scheduled_action_name=schedule.name,
                autoscaling_group_name=self.scaling_group_name,
                recurrence=schedule.cron,
                time_zone=schedule.time_zone,
                min_size=schedule.floor_nodes,
                desired_capacity=schedule.floor_nodes,
                max_size=schedule.ceiling_nodes,
                opts=self._options,
            )

    def _reader_role(self) -> aws.eks.PodIdentityAssociation:
        """What the pool's pods are: readers of one release and of nothing else."""
        release = self._plan.release
        cluster = self._args["cluster_name"]
        region = self._place.region
        role = aws.iam.Role(
            f"{self._name}-reader",
            assume_role_policy=pulumi.Output.from_input(cluster).apply(
                lambda cluster_name: documents.pod_identity_trust(self._account, region, cluster_name)
            ),
            description=f"Model servers of pool {self._name} read their release",
            tags=self._tags,
            opts=self._options,
        )
        rights = aws.iam.RolePolicy(
            f"{self._name}-reader",
            role=role.name,
            policy=pulumi.Output.from_input(self._args["store_key_arn"]).apply(
                lambda key: documents.release_reader_policy(self._account.partition, release.artifact_uri, key)
            ),
            opts=self._options,
        )
        self.reader_role_arn = role.arn
        return aws.eks.PodIdentityAssociation(
            f"{self._name}-reader",
            cluster_name=cluster,
            namespace=self._plan.facts.namespace,
            service_account=serving.SERVICE_ACCOUNT,
            role_arn=role.arn,
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )

    def _device_software(self, group: aws.eks.NodeGroup) -> None:
        options = pulumi.ResourceOptions(parent=self, depends_on=[group])
        exporter = devices.dcgm_exporter(self._name, self._registry.mapped(devices.DCGM_EXPORTER_IMAGE))
        kubernetes.apps.v1.DaemonSet(f"{self._name}-dcgm-exporter", opts=options, **kube.properties(exporter))
        if not nodes.IMAGES[self._plan.settings.node_image].builtin_device_plugin:
            plugin = devices.device_plugin(self._name, self._registry.mapped(devices.DEVICE_PLUGIN_IMAGE))
            kubernetes.apps.v1.DaemonSet(f"{self._name}-device-plugin", opts=options, **kube.properties(plugin))

    def _model_server(self, group: aws.eks.NodeGroup, reader: aws.eks.PodIdentityAssociation) -> None:
        server = self._plan.server(self._registry, self._place.region)
        name = self._name
        space = kubernetes.core.v1.Namespace(name, opts=self._options, **kube.properties(serving.namespace(server)))
        within = pulumi.ResourceOptions(parent=self, depends_on=[space])
        kubernetes.core.v1.ServiceAccount(name, opts=within, **kube.properties(serving.service_account(server)))
        script = serving.script_map(server)
        script_map = kubernetes.core.v1.ConfigMap(f"{name}-fetch-release", opts=within, **kube.properties(script))
        for policy, manifest in serving.network_policies(server).items():
            kubernetes.networking.v1.NetworkPolicy(f"{name}-{policy}", opts=within, **kube.properties(manifest))
        kubernetes.core.v1.Service(name, opts=within, **kube.properties(serving.service(server)))
        kubernetes.core.v1.Service(f"{name}-replicas", opts=within, **kube.properties(serving.replicas(server)))
        kubernetes.policy.v1.PodDisruptionBudget(
            name, opts=within, **kube.properties(serving.disruption_budget(server))
        )
        kubernetes.apps.v1.DaemonSet(
            f"{name}-pre-pull",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[space, group]),
            **kube.properties(serving.pre_pull(server)),
        )
        follows = self._plan.settings.follows_nodes
        kubernetes.apps.v1.Deployment(
            name,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[space, group, reader, script_map],
                ignore_changes=["spec.replicas"] if follows else None,
            ),
            **kube.properties(serving.deployment(server, script["metadata"]["name"])),
        )
        if follows:
            self._node_follower(space)

    def _node_follower(self, space: kubernetes.core.v1.Namespace) -> None:
        """Model servers for the nodes that schedules, an hourly floor or an operator bring, and none for those gone."""
        name = f"{self._name}-{follower.NAME}"
        within = pulumi.ResourceOptions(parent=self, depends_on=[space])
        rbac = kubernetes.rbac.v1
        script = follower.script_map(self._name)
        needed = [
            rbac.Role(name, opts=within, **kube.properties(follower.role(self._name))),
            rbac.ClusterRole(name, opts=self._options, **kube.properties(follower.cluster_role(self._name))),
            kubernetes.networking.v1.NetworkPolicy(
                name, opts=within, **kube.properties(follower.network_policy(self._name))
            ),
            kubernetes.core.v1.ServiceAccount(
                name, opts=within, **kube.properties(follower.service_account(self._name))
            ),
            kubernetes.core.v1.ConfigMap(name, opts=within, **kube.properties(script)),
            rbac.RoleBinding(name, opts=within, **kube.properties(follower.role_binding(self._name))),
            rbac.ClusterRoleBinding(
                name, opts=self._options, **kube.properties(follower.cluster_role_binding(self._name))
            ),
        ]
        kubernetes.apps.v1.Deployment(
            name,
            opts=pulumi.ResourceOptions(parent=self, depends_on=needed),
            **kube.properties(
                follower.deployment(
                    self._name,
                    self._registry.mapped(images.PYTHON),
                    script["metadata"]["name"],
                    self._plan.replicas_per_node,
                )
            ),
        )


def autoscaling_group_name(resources: Sequence[aws.eks.outputs.NodeGroupResource]) -> str:
    """The one Auto Scaling group behind a managed node group."""
    groups = resources[0].autoscaling_groups or ()
    return str(groups[0].name)
