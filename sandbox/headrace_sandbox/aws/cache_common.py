"""What the parts of ElastiCache share: kinds, errors, and how a document is found and shown."""

from __future__ import annotations

from typing import Final

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Doc
from headrace_sandbox.aws.world import World, page

SUBNETS: Final = Kind(service="elasticache", name="subnet-group")
PARAMETERS: Final = Kind(service="elasticache", name="parameter-group")
GROUP: Final = Kind(service="elasticache", name="replication-group")


def combination(message: str) -> AwsError:
    """Two parameters that don't go together."""
    return AwsError("InvalidParameterCombination", message, status=400)


def bad_value(message: str) -> AwsError:
    """A parameter's value that is wrong."""
    return AwsError("InvalidParameterValue", message, status=400)


def cache_page(items: list[Doc], params: Doc) -> tuple[list[Doc], Doc]:
    """One page, as ElastiCache counts them."""
    return page(items, params, members=("MaxRecords", "Marker"))


def need(world: World, region: str, kind: Kind, name: str) -> Doc:
    """A document by its name, or the error of its kind."""
    doc = world.store.get(kind, region, name.lower())
    if doc is None:
        code, what, status = {
            SUBNETS.name: ("CacheSubnetGroupNotFoundFault", "Cache Subnet Group", 400),
            PARAMETERS.name: ("CacheParameterGroupNotFound", "CacheParameterGroup", 404),
            GROUP.name: ("ReplicationGroupNotFoundFault", "ReplicationGroup", 404),
        }[kind.name]
        raise AwsError(code, f"{what} {name} not found.", status=status)
    return doc
