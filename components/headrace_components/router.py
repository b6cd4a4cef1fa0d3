"""Router: what decides, before a request waits, which pool takes it."""

import secrets
from typing import Any, NotRequired, TypedDict, cast

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from headrace.settings import Settings
from headrace.settings.load import load as load_settings
from headrace_components import (
    documents,
    inputs,
    kube,
    logs,
    nodes,
    router_names,
    router_network,
    router_plan,
    router_pods,
)
from headrace_components import router_manifests as manifests
from headrace_components.data_stores import FLOOR_ROLE
from headrace_components.images import Registry
from headrace_components.place import PlaceArgs, account_of, read_place
from headrace_components.tags import cost_tags, named


class RouterArgs(TypedDict):
    """Arguments of `Router`."""

    place: PlaceArgs
    """Where the router belongs."""
    settings: dict[str, Any]
    """The whole tree of a stack's settings, keys as in the stack file: pools, prices, residency and limits are all
    rendered from it."""
    cluster_name: pulumi.Input[str]
    """The cluster that the router runs in."""
    cluster_version: str
    """Its Kubernetes version."""
    cluster_security_group_id: pulumi.Input[str]
    """The security group that EKS gives to nodes."""
    client_security_group_id: NotRequired[pulumi.Input[str]]
    """The security group that the data stores admit."""
    node_role_arn: pulumi.Input[str]
    """Role of the nodes."""
    router_subnet_ids: dict[str, pulumi.Input[str]]
    """Router subnets by zone: the only ones with egress."""
    dedicated_urls: NotRequired[dict[str, pulumi.Input[str]]]
    """Dedicated pool -> address of its model servers, without `/v1`."""
    dedicated_metrics_urls: NotRequired[dict[str, pulumi.Input[str]]]
    """Dedicated pool -> where its model servers show their queues; `/metrics` of the pool's address by default."""
    serverless_urls: NotRequired[dict[str, pulumi.Input[str]]]
    """Serverless pool -> base address of its API, with `/v1`."""
    serverless_headers: NotRequired[dict[str, pulumi.Input[dict[str, str]]]]
    """Serverless pool -> headers that let a request in."""
    redis_url: NotRequired[pulumi.Input[str]]
    """Where replicas share their limits, with its credential. Without it one replica's limits are its own."""
    postgres_dsn: NotRequired[pulumi.Input[str]]
    """Where journals are drained to, with its credential."""
    floor_dsn: NotRequired[pulumi.Input[str]]
    """The same with the credential of the hourly floor's role, where a floor follows its traffic: then the job makes
    its tables and its role too."""
    master_secret_arn: NotRequired[pulumi.Input[str]]
    """The secret with the database master's login: with it a job makes tables and the router's role."""
    master_key_arn: NotRequired[pulumi.Input[str]]
    """The key of that secret."""
    audit_bucket: NotRequired[pulumi.Input[str]]
    """Bucket that takes checkpoints of the records."""
    audit_bucket_arn: NotRequired[pulumi.Input[str]]
    """Its ARN."""
    audit_key_arn: NotRequired[pulumi.Input[str]]
    """Its key."""
    alert_webhook_url: NotRequired[pulumi.Input[str]]
    """Who is told when a budget passes a threshold."""
    caches: NotRequired[dict[str, str]]
    """Repository prefix -> upstream registry of the account's pull-through caches."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class Router(pulumi.ComponentResource):
    """The router's replicas over zones, each with a journal volume of its own, on machines in the subnets with egress;
    its configuration rendered from the deployed pools, its keys and credentials as Secrets, an internal load balancer,
    autoscaling, a disruption budget and closed network policies."""

    internal_url: pulumi.Output[str]
    """Where pods of the cluster find the API, with `/v1`."""
    load_balancer: pulumi.Output[str]
    """Host name of the internal load balancer."""
    policy_version: pulumi.Output[str]
    """Digest of the configuration; every record names it."""
    namespace: pulumi.Output[str]
    """The router's namespace."""
    role_arn: pulumi.Output[str]
    """The role that the router's pods work as."""

    def __init__(self, name: str, args: RouterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        inputs.require_plain(args["settings"], "settings")
        settings: Settings = load_settings(args["settings"])
        plan = router_plan.plan_router(name, place, settings, tuple(args["router_subnet_ids"]))
        facts = plan.facts.to_props()
        super().__init__("headrace:index:Router", name, {"facts": facts}, opts)
        self._name = name
        self._args = args
        self._plan = plan
        self._place = place
        self._options = pulumi.ResourceOptions(parent=self)
        self._tags = cost_tags(place.owner(), name, args.get("tags"))
        self._account = account_of(opts)
        registry = Registry(account_id=self._account.id, region=place.region, caches=dict(args.get("caches", {})))

        self._key = logs.encryption_key(
            self,
            name,
            f"Journals and credentials of the router of {place.prefix}",
            documents.volume_key_policy(self._account, place.region),
            f"headrace/{place.prefix}/{name}",
            self._tags,
        )
        group = self._node_group()
        identity = self._identity()
        space = kubernetes.core.v1.Namespace(name, opts=self._options, **kube.properties(manifests.namespace()))
        self._within = pulumi.ResourceOptions(parent=self, depends_on=[space])
        content = self._content()
        self._access()
        image = registry.mapped(plan.image)
        migrated = self._migration(image, [space, group])
        self._replicas(image, content, [space, group, identity, *migrated])
        self.namespace = space.metadata.name.apply(str)
        self.internal_url = pulumi.Output.from_input(router_names.internal_url())
        self.register_outputs(
            {
                "internal_url": self.internal_url,
                "load_balancer": self.load_balancer,
                "policy_version": self.policy_version,
                "namespace": self.namespace,
                "role_arn": self.role_arn,
                "facts": facts,
            }
        )

    def _node_group(self) -> aws.eks.NodeGroup:
        """Machines of its own: the only pods with a way out of the network share none with anybody else."""
        args, plan, name = self._args, self._plan, self._name
        marks = named(self._tags, f"{self._place.prefix}-{name}")
        groups = [args["cluster_security_group_id"]]
        if (clients := args.get("client_security_group_id")) is not None:
            groups.append(clients)
        template = aws.ec2.LaunchTemplate(
            name,
            vpc_security_group_ids=groups,
            tags=self._tags,
            opts=self._options,
            **nodes.launch_template(nodes.SYSTEM_IMAGE, nodes.SYSTEM_VOLUME_GIB, marks),
        )
        return aws.eks.NodeGroup(
            name,
            cluster_name=args["cluster_name"],
            node_group_name=nodes.replaceable_name(name, plan.router.instance_type, plan.zones),
            node_role_arn=args["node_role_arn"],
            subnet_ids=list(args["router_subnet_ids"].values()),
            instance_types=[plan.router.instance_type],
            ami_type=nodes.SYSTEM_IMAGE.ami_type,
            capacity_type="ON_DEMAND",
            scaling_config={"min_size": plan.nodes, "desired_size": plan.nodes, "max_size": plan.nodes + 1},
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels=dict(router_names.TIER),
            taints=[cast("aws.eks.NodeGroupTaintArgsDict", dict(router_names.TAINT))],
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            version=args["cluster_version"],
            tags=marks,
            opts=self._options,
        )

    def _identity(self) -> pulumi.Resource:
        """What the router's pods are to AWS: nobody, but for the audit trail that they add to."""
        policy: pulumi.Output[str] | None = None
        bucket, key = self._args.get("audit_bucket_arn"), self._args.get("audit_key_arn")
        if bucket is not None and key is not None:
            policy = pulumi.Output.all(bucket, key).apply(
                lambda parts: documents.audit_writer_policy(parts[0], parts[1])
            )
        role, association = self._pod_role(
            self._name, router_names.SERVICE_ACCOUNT, f"Router of {self._place.prefix}", policy
        )
        self.role_arn = role.arn
        return association

    def _pod_role(
        self, name: str, service_account: str, description: str, policy: pulumi.Output[str] | None
    ) -> tuple[aws.iam.Role, aws.eks.PodIdentityAssociation]:
        """A role for the pods of one service account, with `policy` as all its rights."""
        cluster = self._args["cluster_name"]
        role = aws.iam.Role(
            name,
            assume_role_policy=pulumi.Output.from_input(cluster).apply(
                lambda given: documents.pod_identity_trust(self._account, self._place.region, given)
            ),
            description=description,
            tags=self._tags,
            opts=self._options,
        )
        rights = (
            [aws.iam.RolePolicy(name, role=role.name, policy=policy, opts=self._options)] if policy is not None else []
        )
        association = aws.eks.PodIdentityAssociation(
            name,
            cluster_name=cluster,
            namespace=router_names.NAMESPACE,
            service_account=service_account,
            role_arn=role.arn,
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=rights),
        )
        return role, association

    def _migration(self, image: str, after: list[pulumi.Resource]) -> list[pulumi.Resource]:
        """The job that makes tables and the router's role; it is through before a replica starts."""
        args, name = self._args, f"{self._name}-migration"
        master, key, dsn = args.get("master_secret_arn"), args.get("master_key_arn"), args.get("postgres_dsn")
        if master is None or key is None or dsn is None:
            return []
        policy = pulumi.Output.all(master, key).apply(lambda parts: documents.secret_reader_policy(parts[0], parts[1]))
        description = f"Makes the tables of the router of {self._place.prefix}"
        _, identity = self._pod_role(name, router_names.MIGRATION, description, policy)
        floor = args.get("floor_dsn")
        variables: pulumi.Output[dict[str, str]] = pulumi.Output.secret(
            pulumi.Output.all(dsn, floor).apply(lambda given: router_plan.migration_environment(given[0], given[1]))
        )
        account = kubernetes.core.v1.ServiceAccount(
            name, opts=self._within, **kube.properties(router_pods.migration_account())
        )
        secret = kubernetes.core.v1.Secret(
            name, opts=self._within, **kube.properties(router_pods.migration_secret(variables))
        )
        job = kubernetes.batch.v1.Job(
            name,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*after, account, secret, identity]),
            **kube.properties(
                router_pods.migration(
                    image,
                    self._plan.settings.data_stores.credentials_version,
                    pulumi.Output.concat("--master-login=", master),
                    self._place.region,
                    FLOOR_ROLE if floor is not None else None,
                )
            ),
        )
        return [job]

    def _hash_secret(self) -> pulumi.Output[str]:
        """The secret of keyed hashes in records. Made once, here, and never changed: with another one, equal prompts of
        yesterday and today would no longer have equal hashes."""
        secret = aws.secretsmanager.Secret(
            f"{self._name}-hash",
            name=f"headrace/{self._place.prefix}/{self._name}/hash",
            description="Secret of keyed hashes in the router's records",
            kms_key_id=self._key.arn,
            recovery_window_in_days=documents.recovery_days(self._place.stage),
            tags=self._tags,
            opts=self._options,
        )
        version = aws.secretsmanager.SecretVersion(
            f"{self._name}-hash",
            secret_id=secret.id,
            secret_string=pulumi.Output.secret(secrets.token_urlsafe(48)),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["secretString"]),
        )
        return version.secret_string.apply(str)

    def _content(self) -> pulumi.Output[str]:
        """ConfigMap and Secrets, and the checksum that renews the replicas when what they start with changes."""
        args, plan, name = self._args, self._plan, self._name
        configuration = pulumi.Output.all(
            dedicated=args.get("dedicated_urls", {}),
            metrics=args.get("dedicated_metrics_urls", {}),
            serverless=args.get("serverless_urls", {}),
        ).apply(
            lambda given: router_plan.configuration(plan, given["dedicated"], given["metrics"], given["serverless"])
        )
        variables: pulumi.Output[dict[str, str]] = pulumi.Output.secret(
            pulumi.Output.all(
                hash=self._hash_secret(),
                headers=args.get("serverless_headers", {}),
                redis=args.get("redis_url"),
                postgres=args.get("postgres_dsn"),
                bucket=args.get("audit_bucket"),
                webhook=args.get("alert_webhook_url"),
            ).apply(
                lambda given: router_plan.environment_of(
                    given["headers"],
                    {
                        "HEADRACE_HASH_SECRET": given["hash"],
                        "HEADRACE_REDIS_URL": given["redis"],
                        "HEADRACE_POSTGRES_DSN": given["postgres"],
                        "HEADRACE_AUDIT_BUCKET": given["bucket"],
                        "HEADRACE_ALERT_WEBHOOK": given["webhook"],
                    },
                )
            )
        )
        kubernetes.core.v1.ConfigMap(name, opts=self._within, **kube.properties(manifests.config_map(configuration)))
        kubernetes.core.v1.Secret(
            f"{name}-keys",
            opts=self._within,
            **kube.properties(manifests.keys_secret(router_plan.key_file(plan.router))),
        )
        kubernetes.core.v1.Secret(
            f"{name}-environment", opts=self._within, **kube.properties(manifests.environment_secret(variables))
        )
        self.policy_version = configuration.apply(router_plan.policy_version)
        # The digest covers a random secret of 48 bytes, so nobody guesses the others from it.
        return pulumi.Output.unsecret(
            pulumi.Output.all(configuration, variables).apply(
                lambda parts: router_plan.checksum(parts[0], *(f"{key}={parts[1][key]}" for key in sorted(parts[1])))
            )
        )

    def _access(self) -> None:
        """Whom the pods are, and who may talk to whom."""
        name, plan = self._name, self._plan
        kubernetes.core.v1.ServiceAccount(name, opts=self._within, **kube.properties(manifests.service_account()))
        for policy, manifest in router_network.network_policies(plan, router_network.pool_namespaces(plan)).items():
            kubernetes.networking.v1.NetworkPolicy(f"{name}-{policy}", opts=self._within, **kube.properties(manifest))

    def _replicas(self, image: str, checksum: pulumi.Output[str], after: list[pulumi.Resource]) -> None:
        name, plan, within = self._name, self._plan, self._within
        storage = kubernetes.storage.v1.StorageClass(
            name,
            opts=self._options,
            **kube.properties(manifests.storage_class(plan, self._key.arn, self._tags)),
        )
        kubernetes.core.v1.Service(f"{name}-replicas", opts=within, **kube.properties(manifests.replicas_service()))
        kubernetes.policy.v1.PodDisruptionBudget(name, opts=within, **kube.properties(manifests.disruption_budget()))
        replicas = kubernetes.apps.v1.StatefulSet(
            name,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*after, storage],
                # Replicas are the autoscaler's from the first minute on; to set them back would end some in mid-peak. A
                # claim template can't be changed: the set would be replaced, all replicas at once, and the claims that
                # there are would keep their size (docs/components/router.md says how they grow).
                ignore_changes=["spec.replicas", "spec.volumeClaimTemplates"],
            ),
            **kube.properties(router_pods.stateful_set(plan, image, checksum)),
        )
        behind = pulumi.ResourceOptions(parent=self, depends_on=[replicas])
        kubernetes.autoscaling.v2.HorizontalPodAutoscaler(
            name, opts=behind, **kube.properties(manifests.autoscaler(plan.router))
        )
        kubernetes.core.v1.Service(name, opts=behind, **kube.properties(manifests.service()))
        subnets = pulumi.Output.all(*self._args["router_subnet_ids"].values()).apply(
            lambda ids: ",".join(map(str, ids))
        )
        balancer = kubernetes.core.v1.Service(
            f"{name}-balancer",
            opts=behind,
            **kube.properties(manifests.balancer_service(plan.router, subnets, self._tags)),
        )
        self.load_balancer = balancer.status.apply(host_name)


def host_name(status: Any) -> str:
    """The host name that a load balancer was given; empty while there is none."""
    found = (status.load_balancer.ingress if status is not None and status.load_balancer is not None else None) or ()
    return str(found[0].hostname or "") if found else ""
