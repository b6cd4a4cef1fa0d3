"""PrivateNetwork: a VPC whose GPU and application subnets have no way to the internet."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from headrace.catalog import load
from headrace.errors import refuse
from headrace.rules.facts import NetworkFacts
from headrace.settings.network import AdoptedNetwork, Egress, NetworkSettings
from headrace_components import documents, firewall, inputs, layout, logs
from headrace_components.place import Place, PlaceArgs, account_of, read_place
from headrace_components.tags import cost_tags, named

ANYWHERE = "0.0.0.0/0"


class AdoptedNetworkArgs(TypedDict):
    """A VPC that exists already, with one subnet of each kind per zone."""

    vpc_id: str
    """The VPC."""
    private_subnet_ids: dict[str, str]
    """GPU and application subnets by zone. None of them may have a route to the internet."""
    intra_subnet_ids: dict[str, str]
    """Subnets for the control plane's interfaces by zone."""
    router_subnet_ids: dict[str, str]
    """Subnets of the router by zone."""


class PrivateNetworkArgs(TypedDict):
    """Arguments of `PrivateNetwork`."""

    place: PlaceArgs
    """Where the network belongs."""
    cidr: str
    """IPv4 network of the VPC, /16 to /20."""
    zones: list[str]
    """Two or three availability zones."""
    egress: NotRequired[str]
    """How router subnets reach the internet: `nat-per-zone` (default) or `none`."""
    flow_log_retention_days: NotRequired[int]
    """Days to keep flow logs, one year by default."""
    adopt: NotRequired[AdoptedNetworkArgs]
    """A VPC to use instead of creating one. Its routes, endpoints and flow logs stay its owner's."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class PrivateNetwork(pulumi.ComponentResource):
    """A VPC over two or three zones: private subnets (GPU nodes, applications) and intra subnets (control plane) that
    have no route out, router subnets that have one only if asked for, endpoints for the AWS services that nodes need,
    flow logs, and a closed default security group."""

    vpc_id: pulumi.Output[str]
    """The VPC."""
    private_subnet_ids: pulumi.Output[dict[str, str]]
    """Private subnets by zone."""
    intra_subnet_ids: pulumi.Output[dict[str, str]]
    """Intra subnets by zone."""
    router_subnet_ids: pulumi.Output[dict[str, str]]
    """Router subnets by zone."""
    s3_endpoint_id: pulumi.Output[str | None]
    """The S3 gateway endpoint; nothing for an adopted VPC."""

    def __init__(self, name: str, args: PrivateNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        settings = inputs.read(NetworkSettings, args, "network")
        refuse_impossible(place, settings)
        facts = network_facts(name, place, settings).to_props()
        super().__init__("headrace:index:PrivateNetwork", name, {"facts": facts}, opts)
        self._options = pulumi.ResourceOptions(parent=self)
        self._tags = cost_tags(place.owner(), "network", args.get("tags"))
        self._place = place
        # By zone, as plain dicts of outputs: a node group that takes one of them depends on exactly that subnet, which
        # is what a policy follows at preview, when the id itself is unknown.
        self.private_by_zone: Mapping[str, pulumi.Input[str]]
        self.intra_by_zone: Mapping[str, pulumi.Input[str]]
        self.router_by_zone: Mapping[str, pulumi.Input[str]]
        self.s3_gateway: pulumi.Output[str] | None = None
        if settings.adopt is None:
            self._create(name, settings, account_of(opts))
        else:
            self._adopt(settings, settings.adopt)
        self.private_subnet_ids = pulumi.Output.from_input(self.private_by_zone)
        self.intra_subnet_ids = pulumi.Output.from_input(self.intra_by_zone)
        self.router_subnet_ids = pulumi.Output.from_input(self.router_by_zone)
        self.s3_endpoint_id = pulumi.Output.from_input(self.s3_gateway)
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "private_subnet_ids": self.private_subnet_ids,
                "intra_subnet_ids": self.intra_subnet_ids,
                "router_subnet_ids": self.router_subnet_ids,
                "s3_endpoint_id": self.s3_endpoint_id,
                "facts": facts,
            }
        )

    def _adopt(self, settings: NetworkSettings, adopted: AdoptedNetwork) -> None:
        for zone in settings.zones:
            self._refuse_public_subnet(zone, adopted.private_subnet_ids[zone])
        self.vpc_id = pulumi.Output.from_input(adopted.vpc_id)
        self.private_by_zone = {zone: adopted.private_subnet_ids[zone] for zone in settings.zones}
        self.intra_by_zone = {zone: adopted.intra_subnet_ids[zone] for zone in settings.zones}
        self.router_by_zone = {zone: adopted.router_subnet_ids[zone] for zone in settings.zones}

    def _refuse_public_subnet(self, zone: str, subnet_id: str) -> None:
        """Looks at the adopted subnet's real route table: settings could claim anything."""
        table = aws.ec2.get_route_table(subnet_id=subnet_id, opts=pulumi.InvokeOptions(parent=self))
        for route in table.routes:
            if route.gateway_id.startswith("igw-") or route.nat_gateway_id or route.egress_only_gateway_id:
                raise refuse(
                    f"network.adopt.privateSubnetIds.{zone}",
                    subnet_id,
                    "must have no route to the internet",
                    reason=f"its route table {table.route_table_id} sends {route.cidr_block or route.ipv6_cidr_block} "
                    f"to {route.gateway_id or route.nat_gateway_id or route.egress_only_gateway_id}",
                    next_step="name a subnet without such a route, or remove the route",
                )

    def _create(self, name: str, settings: NetworkSettings, account: documents.Account) -> None:
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=settings.cidr,
            # Private DNS of the interface endpoints needs both.
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=named(self._tags, name),
            opts=self._options,
        )
        self.vpc_id = vpc.id
        # Adopting the default group without rules removes those that AWS puts there.
        aws.ec2.DefaultSecurityGroup(
            name, vpc_id=vpc.id, tags=named(self._tags, f"{name}-default-closed"), opts=self._options
        )
        zones = layout.lay_out(settings.cidr, tuple(settings.zones))
        with_nat = settings.egress is Egress.NAT_PER_ZONE
        internet = (
            aws.ec2.InternetGateway(name, vpc_id=vpc.id, tags=named(self._tags, name), opts=self._options)
            if with_nat
            else None
        )
        private: dict[str, pulumi.Input[str]] = {}
        intra: dict[str, pulumi.Input[str]] = {}
        router: dict[str, pulumi.Input[str]] = {}
        private_tables: list[pulumi.Input[str]] = []
        router_tables: list[pulumi.Input[str]] = []
        for zone in zones:
            letter = zone.zone[-1]
            private[zone.zone], table = self._subnet(f"{name}-private-{letter}", vpc, zone.zone, zone.private)
            private_tables.append(table.id)
            intra[zone.zone], _ = self._subnet(f"{name}-intra-{letter}", vpc, zone.zone, zone.intra)
            router[zone.zone], router_table = self._subnet(f"{name}-router-{letter}", vpc, zone.zone, zone.router)
            router_tables.append(router_table.id)
            if internet is not None:
                self._nat(f"{name}-edge-{letter}", vpc, internet, zone, router_table)
        self.private_by_zone, self.intra_by_zone, self.router_by_zone = private, intra, router
        self._endpoints(name, vpc, zones, account, [*private_tables, *router_tables])
        self._flow_log(name, vpc, settings, account)

    def _subnet(
        self, name: str, vpc: aws.ec2.Vpc, zone: str, cidr: str
    ) -> tuple[pulumi.Output[str], aws.ec2.RouteTable]:
        """A subnet with a route table of its own: what breaks in one zone stays there."""
        tags = named(self._tags, name)
        if "-private-" in name or "-router-" in name:
            tags["kubernetes.io/role/internal-elb"] = "1"
        subnet = aws.ec2.Subnet(
            name,
            vpc_id=vpc.id,
            cidr_block=cidr,
            availability_zone=zone,
            map_public_ip_on_launch=False,
            tags=tags,
            opts=self._options,
        )
        table = aws.ec2.RouteTable(name, vpc_id=vpc.id, tags=named(self._tags, name), opts=self._options)
        association = aws.ec2.RouteTableAssociation(
            name, subnet_id=subnet.id, route_table_id=table.id, opts=self._options
        )
        # Whoever uses the subnet waits until its routes are in force.
        subnet_id: pulumi.Output[str] = pulumi.Output.all(subnet.id, association.id).apply(lambda ids: str(ids[0]))
        return subnet_id, table

    def _nat(
        self,
        name: str,
        vpc: aws.ec2.Vpc,
        internet: aws.ec2.InternetGateway,
        zone: layout.ZoneLayout,
        router_table: aws.ec2.RouteTable,
    ) -> None:
        """A NAT gateway in an edge subnet, where nothing else ever is, and the router's way to it."""
        edge_subnet, edge_table = self._subnet(name, vpc, zone.zone, zone.edge)
        to_internet = aws.ec2.Route(
            name,
            route_table_id=edge_table.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=internet.id,
            opts=self._options,
        )
        address = aws.ec2.Eip(name, domain="vpc", tags=named(self._tags, name), opts=self._options)
        gateway = aws.ec2.NatGateway(
            name,
            allocation_id=address.allocation_id,
            subnet_id=edge_subnet,
            connectivity_type="public",
            tags=named(self._tags, name),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[to_internet]),
        )
        aws.ec2.Route(
            f"{name}-router",
            route_table_id=router_table.id,
            destination_cidr_block=ANYWHERE,
            nat_gateway_id=gateway.id,
            opts=self._options,
        )

    def _endpoints(
        self,
        name: str,
        vpc: aws.ec2.Vpc,
        zones: tuple[layout.ZoneLayout, ...],
        account: documents.Account,
        route_tables: list[pulumi.Input[str]],
    ) -> None:
        region = self._place.region
        group = aws.ec2.SecurityGroup(
            f"{name}-endpoints",
            vpc_id=vpc.id,
            description="VPC endpoints: HTTPS from the private, intra and router subnets",
            tags=named(self._tags, f"{name}-endpoints"),
            opts=self._options,
        )
        for zone in zones:
            for kind, cidr in (("private", zone.private), ("intra", zone.intra), ("router", zone.router)):
                rule = f"{name}-endpoints-{kind}-{zone.zone[-1]}"
                description = f"HTTPS from the {kind} subnet of {zone.zone}"
                firewall.admit_https(self, rule, group.id, cidr, description, self._tags)
        for row in load.vpc_endpoints().values():
            common: dict[str, Any] = {
                "vpc_id": vpc.id,
                "service_name": f"com.amazonaws.{region}.{row.service}",
                "vpc_endpoint_type": row.type,
                "tags": named(self._tags, f"{name}-{row.name}"),
                "opts": self._options,
            }
            if row.type == "Gateway":
                endpoint = aws.ec2.VpcEndpoint(
                    f"{name}-{row.name}",
                    route_table_ids=route_tables,
                    policy=documents.s3_endpoint_policy(account, region),
                    **common,
                )
                if row.service == "s3":
                    self.s3_gateway = endpoint.id
            else:
                aws.ec2.VpcEndpoint(
                    f"{name}-{row.name}",
                    subnet_ids=list(self.intra_by_zone.values()),
                    security_group_ids=[group.id],
                    private_dns_enabled=True,
                    policy=documents.endpoint_policy(account),
                    **common,
                )

    def _flow_log(self, name: str, vpc: aws.ec2.Vpc, settings: NetworkSettings, account: documents.Account) -> None:
        group = logs.log_group(
            self,
            f"{name}-flow-log",
            account=account,
            region=self._place.region,
            log_group_name=f"/headrace/{self._place.prefix}/{name}/flow-log",
            retention_days=settings.flow_log_retention_days,
            tags=self._tags,
        )
        role = aws.iam.Role(
            f"{name}-flow-log",
            assume_role_policy=documents.trust("vpc-flow-logs.amazonaws.com", account),
            description=f"Writes the flow log of {name}",
            tags=self._tags,
            opts=self._options,
        )
        allowed = aws.iam.RolePolicy(
            f"{name}-flow-log",
            role=role.name,
            policy=group.arn.apply(documents.flow_log_policy),
            opts=self._options,
        )
        aws.ec2.FlowLog(
            name,
            vpc_id=vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=60,
            tags=named(self._tags, name),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed]),
        )


def refuse_impossible(place: Place, settings: NetworkSettings) -> None:
    """What the network's own settings can't see: zones of another region, adopted subnets that miss a zone."""
    for zone in settings.zones:
        if not zone.startswith(place.region):
            raise refuse(
                "network.zones",
                zone,
                f"must be a zone of {place.region}",
                reason="a VPC lies in one region",
                next_step=f"name zones such as {place.region}a",
            )
    if settings.adopt is None:
        return
    for kind, given in (
        ("privateSubnetIds", settings.adopt.private_subnet_ids),
        ("intraSubnetIds", settings.adopt.intra_subnet_ids),
        ("routerSubnetIds", settings.adopt.router_subnet_ids),
    ):
        missing = [zone for zone in settings.zones if zone not in given]
        if missing:
            raise refuse(
                f"network.adopt.{kind}",
                sorted(given),
                f"must name a subnet for each zone; missing: {', '.join(missing)}",
                reason="every zone of the network needs one subnet of each kind",
                next_step="add the subnet ids, or take the zone out of `network.zones`",
            )


def network_facts(name: str, place: Place, settings: NetworkSettings) -> NetworkFacts:
    """What the network is, as settings say it. An adopted network has no endpoints, flow logs or group of ours."""
    ours = settings.adopt is None
    return NetworkFacts(
        **place.facts(),
        name=name,
        cidr=settings.cidr,
        zones=tuple(settings.zones),
        egress=settings.egress.value,
        adopted=not ours,
        adopted_private_subnet_ids=(
            tuple(settings.adopt.private_subnet_ids[zone] for zone in settings.zones) if settings.adopt else ()
        ),
        private_subnets_have_internet_route=False,
        private_subnets_map_public_ip=False,
        route_table_per_zone=ours,
        endpoints=tuple(row.service for row in load.vpc_endpoints().values()) if ours else (),
        default_security_group_closed=ours,
        flow_logs=ours,
        flow_logs_encrypted=ours,
        flow_log_retention_days=settings.flow_log_retention_days,
    )
