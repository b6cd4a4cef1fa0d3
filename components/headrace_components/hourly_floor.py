"""HourlyFloor: the job that holds as many nodes of a dedicated pool as its traffic is worth."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from headrace.errors import refuse
from headrace.rules.facts import HourlyFloorFacts
from headrace_components import documents, kube, router_names, serving
from headrace_components import hourly_floor_manifests as manifests
from headrace_components.images import Registry, require_digest
from headrace_components.place import Place, PlaceArgs, account_of, read_place
from headrace_components.tags import SHARED, cost_tags

EGRESS: tuple[str, ...] = ("data-stores", "aws-endpoints")


class HourlyFloorArgs(TypedDict):
    """Arguments of `HourlyFloor`."""

    place: PlaceArgs
    """Where the pool belongs."""
    pool: str
    """The dedicated pool."""
    workload: str
    """Its workload, whose traffic is followed."""
    floor_nodes: int
    """Least nodes."""
    ceiling_nodes: int
    """Most nodes."""
    replicas_per_node: int
    """Model servers that a node holds."""
    lead_time_s: NotRequired[int]
    """Seconds until a new node serves, 600 by default; the job runs that much before the full hour."""
    image: str
    """The router's image, by digest."""
    cluster_name: pulumi.Input[str]
    """The cluster that the job runs in, beside the router."""
    scaling_group_name: pulumi.Input[str]
    """Auto Scaling group of the pool's nodes."""
    postgres_dsn: pulumi.Input[str]
    """The ledger, with the credential of the role that keeps windows and decisions."""
    store_cidrs: list[str]
    """Where the ledger and AWS's endpoints lie."""
    caches: NotRequired[dict[str, str]]
    """Repository prefix -> upstream registry of the account's pull-through caches."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class HourlyFloor(pulumi.ComponentResource):
    """A CronJob beside the router that reads from the ledger what the pool's workload did, decides the nodes of the
    coming hour, sets the pool's Auto Scaling group, and keeps a record of why. Its role may set that one group."""

    role_arn: pulumi.Output[str]
    """The role that the job works as."""
    schedule: pulumi.Output[str]
    """When it runs, as a cron expression in UTC."""

    def __init__(self, name: str, args: HourlyFloorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        account = account_of(opts)
        registry = Registry(account_id=account.id, region=place.region, caches=dict(args.get("caches", {})))
        job = plan_job(args, registry)
        facts = floor_facts(name, place, job).to_props()
        super().__init__("headrace:index:HourlyFloor", name, {"facts": facts}, opts)
        options = pulumi.ResourceOptions(parent=self)
        tags = cost_tags(place.owner(tenant=SHARED, project=job.workload), f"floor-{job.pool}", args.get("tags"))
        group = pulumi.Output.from_input(args["scaling_group_name"])

        role = aws.iam.Role(
            name,
            assume_role_policy=pulumi.Output.from_input(args["cluster_name"]).apply(
                lambda cluster: documents.pod_identity_trust(account, place.region, cluster)
            ),
            description=f"Sets the nodes of pool {job.pool}",
            tags=tags,
            opts=options,
        )
        rights = aws.iam.RolePolicy(
            name,
            role=role.name,
            policy=group.apply(
                lambda found: documents.scaling_policy(
                    account.arn("autoscaling", place.region, f"autoScalingGroup:*:autoScalingGroupName/{found}")
                )
            ),
            opts=options,
        )
        identity = aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args["cluster_name"],
            namespace=router_names.NAMESPACE,
            service_account=job.name,
            role_arn=role.arn,
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )
        before: list[pulumi.Resource] = [
            identity,
            kubernetes.core.v1.ServiceAccount(name, opts=options, **kube.properties(manifests.service_account(job))),
            kubernetes.core.v1.Secret(
                name,
                opts=options,
                **kube.properties(manifests.secret(job, pulumi.Output.secret(args["postgres_dsn"]))),
            ),
            kubernetes.networking.v1.NetworkPolicy(
                name, opts=options, **kube.properties(manifests.network_policy(job))
            ),
        ]
        kubernetes.batch.v1.CronJob(
            name,
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
            **kube.properties(manifests.cron_job(job, group, place.region)),
        )
        self.role_arn = role.arn
        self.schedule = pulumi.Output.from_input(job.schedule)
        self.register_outputs({"role_arn": self.role_arn, "schedule": self.schedule, "facts": facts})


def plan_job(args: HourlyFloorArgs, registry: Registry) -> manifests.FloorJob:
    """The job as it is rendered. Refuses an image that a tag could move, and bounds that are not in order."""
    floor, ceiling = int(args["floor_nodes"]), int(args["ceiling_nodes"])
    if floor > ceiling:
        raise refuse(
            f"dedicatedPools.{args['pool']}.floorNodes",
            floor,
            f"must not exceed ceilingNodes ({ceiling})",
            next_step="raise the ceiling or lower the floor",
        )
    return manifests.FloorJob(
        pool=args["pool"],
        workload=args["workload"],
        image=registry.mapped(require_digest(args["image"], "router.image")),
        floor_nodes=floor,
        ceiling_nodes=ceiling,
        replicas_per_node=int(args["replicas_per_node"]),
        lead_time_s=int(args.get("lead_time_s", 600)),
        store_cidrs=tuple(args["store_cidrs"]),
    )


def floor_facts(name: str, place: Place, job: manifests.FloorJob) -> HourlyFloorFacts:
    """What the job is, as settings say it."""
    return HourlyFloorFacts(
        **place.facts(),
        name=name,
        pool=job.pool,
        workload=job.workload,
        image=job.image,
        floor_nodes=job.floor_nodes,
        ceiling_nodes=job.ceiling_nodes,
        replicas_per_node=job.replicas_per_node,
        schedule=job.schedule,
        runs_as_root=not serving.pod_security()["runAsNonRoot"],
        read_only_root=bool(serving.container_security()["readOnlyRootFilesystem"]),
        egress_to=EGRESS,
    )
