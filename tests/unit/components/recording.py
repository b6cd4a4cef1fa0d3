"""A recording stand-in for the engine, and the five stacks' settings."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pulumi
from pulumi.runtime.proto.source_pb2 import StackTrace

from headrace.settings.load import read_stack_file
from headrace_components import HybridPlatform

STACKS = Path(__file__).resolve().parents[3] / "stacks"
ACCOUNT = "123456789012"
PLACE = {"organization": "acme", "environment": "test", "stage": "development", "region": "eu-central-1"}
ZONES = ["eu-central-1a", "eu-central-1b"]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One registration as the engine would see it."""

    type: str
    name: str
    inputs: dict[str, Any]


@dataclass
class Engine(pulumi.runtime.Mocks):
    """Answers as AWS would where a component reads an answer, and remembers every registration."""

    resources: list[Recorded] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    routes: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Records the registration; ids and ARNs have their true shape."""
        self.resources.append(Recorded(type=args.typ, name=args.name, inputs=dict(args.inputs)))
        service = args.typ.split(":")[1].split("/")[0] if ":" in args.typ else "x"
        outputs = {
            **args.inputs,
            "arn": f"arn:aws:{service}:eu-central-1:{ACCOUNT}:{args.name}",
            **_COMPUTED.get(args.typ, {}),
        }
        outputs.setdefault("name", args.name)
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        """Provider functions that components call."""
        self.calls.append((args.token, dict(args.args)))
        if args.token == "aws:index/getCallerIdentity:getCallerIdentity":
            return {"accountId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:user/test", "id": "x", "userId": "x"}, []
        if args.token == "aws:ec2/getRouteTable:getRouteTable":
            subnet = args.args["subnetId"]
            routes = self.routes.get(subnet, [])
            return {"routeTableId": f"rtb-{subnet}", "routes": routes, "id": "x", "tags": {}}, []
        raise AssertionError(f"no component should call {args.token}")

    def of(self, type_: str) -> list[Recorded]:
        """Registrations of a type."""
        return [resource for resource in self.resources if resource.type == type_]

    def one(self, type_: str, name: str | None = None) -> Recorded:
        """The one registration of a type (and name)."""
        found = [resource for resource in self.of(type_) if name is None or resource.name == name]
        assert len(found) == 1, f"expected one {type_} {name or ''}, found {[one.name for one in found]}"
        return found[0]


_COMPUTED: Mapping[str, dict[str, Any]] = {
    "aws:eks/cluster:Cluster": {
        "endpoint": "https://ABCDEF.gr7.eu-central-1.eks.amazonaws.com",
        "certificateAuthority": {"data": "Q0E="},
    },
    "aws:eks/nodeGroup:NodeGroup": {"resources": [{"autoscalingGroups": [{"name": "eks-group-asg"}]}]},
    "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": 1},
    "aws:kms/key:Key": {"keyId": "11111111-2222-3333-4444-555555555555"},
    "aws:ec2/eip:Eip": {"allocationId": "eipalloc-1"},
    "aws:elasticache/replicationGroup:ReplicationGroup": {"primaryEndpointAddress": "master.cache.internal"},
    "aws:rds/instance:Instance": {
        "address": "records.db.internal",
        "masterUserSecrets": [{"secretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf"}],
    },
    "kubernetes:core/v1:Service": {"status": {"loadBalancer": {"ingress": [{"hostname": "nlb.elb.amazonaws.com"}]}}},
    "headrace:runpod:Endpoint": {"openaiBaseUrl": "https://api.runpod.ai/v2/endpoint-1/openai/v1"},
    "headrace:modal:App": {"openaiBaseUrl": "https://acme--chat.modal.run/v1"},
}


def stack_settings(environment: str) -> dict[str, Any]:
    """The settings of one of the project's stacks as a plain mapping."""
    return read_stack_file(STACKS / f"Pulumi.{environment}.yaml")


@functools.cache
def whole_stack(environment: str) -> Engine:
    """The whole platform of one of the project's stacks, registered once in a process: to look at, not to change."""
    return record(lambda: HybridPlatform("platform", {"settings": stack_settings(environment)}) and None)


def record(program: Callable[[], Any], engine: Engine | None = None) -> Engine:
    """Runs a program to its end with a fresh engine: absence may be asserted only when every registration has been
    drained."""
    engine = engine or Engine()
    # The SDK wants a current event loop; an `asyncio.run` in another test leaves the thread without one.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(engine, project="inference", stack="test", preview=False)
    run_to_end = cast("Callable[[Callable[[], Any]], Callable[[], None]]", pulumi.runtime.test)
    # Where a resource was declared is of no interest here, and walking the stack is a sixth of the work.
    with patch("pulumi.runtime.resource._get_stack_trace", StackTrace):
        run_to_end(program)()
    return engine
