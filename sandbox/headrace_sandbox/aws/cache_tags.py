"""ElastiCache: tags of everything that has an ARN."""

from __future__ import annotations

from typing import Any, Final

from headrace_sandbox.aws.cache_common import GROUP, PARAMETERS, SUBNETS, need
from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World

_TAGGED: Final = {"subnetgroup": SUBNETS, "parametergroup": PARAMETERS, "replicationgroup": GROUP}


def _tagged(world: World, call: Call) -> tuple[Kind, str, Doc]:
    parts = call.params["ResourceName"].split(":")
    kind = _TAGGED.get(parts[5]) if len(parts) == 7 else None
    if kind is None:
        raise AwsError("InvalidARN", f"{call.params['ResourceName']} is not the ARN of a resource", status=400)
    return kind, parts[6], need(world, call.region, kind, parts[6])


def _tag_list(doc: Doc) -> Doc:
    return {"TagList": sorted(doc["_tags"], key=lambda tag: str(tag["Key"]))}


async def list_tags(world: World, call: Call) -> Doc:
    """ListTagsForResource."""
    return _tag_list(_tagged(world, call)[2])


async def add_tags(world: World, call: Call) -> Doc:
    """AddTagsToResource."""
    kind, name, doc = _tagged(world, call)
    added: list[dict[str, Any]] = call.params["Tags"]
    keys = {tag["Key"] for tag in added}
    doc["_tags"] = [*(tag for tag in doc["_tags"] if tag["Key"] not in keys), *added]
    world.store.amend(kind, call.region, name, {"_tags": doc["_tags"]})
    return _tag_list(doc)


async def remove_tags(world: World, call: Call) -> Doc:
    """RemoveTagsFromResource."""
    kind, name, doc = _tagged(world, call)
    doc["_tags"] = [tag for tag in doc["_tags"] if tag["Key"] not in call.params["TagKeys"]]
    world.store.amend(kind, call.region, name, {"_tags": doc["_tags"]})
    return _tag_list(doc)


HANDLERS = {
    ("elasticache", name): handler
    for name, handler in (
        ("ListTagsForResource", list_tags),
        ("AddTagsToResource", add_tags),
        ("RemoveTagsFromResource", remove_tags),
    )
}
