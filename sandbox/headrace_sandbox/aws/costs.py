"""Cost Explorer: anomaly monitors and subscriptions, cost allocation tags."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import ACCOUNT_ID, arn, uuid
from headrace_sandbox.aws.store import Kind, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World, page

MONITOR = Kind(service="ce", name="anomaly-monitor", regional=False)
SUBSCRIPTION = Kind(service="ce", name="anomaly-subscription", regional=False)
TAG = Kind(service="ce", name="cost-allocation-tag", regional=False)
_PAGE = ("MaxResults", "NextPageToken")


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message, status=400)


def _stamp(world: World) -> str:
    return datetime.fromtimestamp(world.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _find(world: World, call: Call, kind: Kind, wanted: str) -> Doc:
    doc = world.store.get(kind, call.region, wanted)
    if doc is None:
        code, name = (
            ("UnknownMonitorException", "monitor")
            if kind is MONITOR
            else ("UnknownSubscriptionException", "subscription")
        )
        raise AwsError(code, f"No anomaly {name} {wanted}")
    return doc


async def create_monitor(world: World, call: Call) -> Doc:
    """CreateAnomalyMonitor: one dimensional monitor per account and dimension; custom ones need a specification."""
    asked = call.params["AnomalyMonitor"]
    if asked["MonitorType"] == "CUSTOM" and not asked.get("MonitorSpecification"):
        raise _invalid("A CUSTOM monitor needs a MonitorSpecification")
    if asked["MonitorType"] == "DIMENSIONAL":
        if not asked.get("MonitorDimension"):
            raise _invalid("A DIMENSIONAL monitor needs a MonitorDimension")
        if any(
            doc.get("MonitorDimension") == asked["MonitorDimension"] for doc in world.store.list(MONITOR, call.region)
        ):
            raise AwsError(
                "LimitExceededException",
                f"Limit exceeded on dimensional spend monitor creation for {asked['MonitorDimension']}",
            )
    key = arn("ce", call.region, f"anomalymonitor/{uuid()}", regional=False)
    doc = {
        **asked,
        "MonitorArn": key,
        "CreationDate": _stamp(world),
        "LastUpdatedDate": _stamp(world),
        "DimensionalValueCount": 0,
        "_tags": call.params.get("ResourceTags", []),
    }
    world.store.put(MONITOR, call.region, key, doc)
    return {"MonitorArn": key}


async def get_monitors(world: World, call: Call) -> Doc:
    """GetAnomalyMonitors."""
    wanted = call.params.get("MonitorArnList")
    docs = [_find(world, call, MONITOR, key) for key in wanted] if wanted else world.store.list(MONITOR, call.region)
    items, more = page([public(doc) for doc in docs], call.params, members=_PAGE)
    return {"AnomalyMonitors": items, **more}


async def update_monitor(world: World, call: Call) -> Doc:
    """UpdateAnomalyMonitor: its name."""
    doc = _find(world, call, MONITOR, call.params["MonitorArn"])
    doc |= {"MonitorName": call.params.get("MonitorName") or doc["MonitorName"], "LastUpdatedDate": _stamp(world)}
    world.store.put(MONITOR, call.region, doc["MonitorArn"], doc)
    return {"MonitorArn": doc["MonitorArn"]}


async def delete_monitor(world: World, call: Call) -> Doc:
    """DeleteAnomalyMonitor."""
    world.store.delete(MONITOR, call.region, _find(world, call, MONITOR, call.params["MonitorArn"])["MonitorArn"])
    return {}


def _check_subscription(world: World, call: Call, doc: Doc) -> None:
    for monitor in doc["MonitorArnList"]:
        _find(world, call, MONITOR, monitor)
    if doc["Frequency"] == "IMMEDIATE" and any(s.get("Type") != "SNS" for s in doc["Subscribers"]):
        raise _invalid("Immediate notifications go to SNS topics only")
    if doc["Frequency"] != "IMMEDIATE" and any(s.get("Type") != "EMAIL" for s in doc["Subscribers"]):
        raise _invalid("Daily or weekly summaries go to email addresses only")
    if (doc.get("Threshold") is None) == (doc.get("ThresholdExpression") is None):
        raise _invalid("Exactly one of Threshold and ThresholdExpression must be given")


async def create_subscription(world: World, call: Call) -> Doc:
    """CreateAnomalySubscription."""
    asked = call.params["AnomalySubscription"]
    _check_subscription(world, call, asked)
    key = arn("ce", call.region, f"anomalysubscription/{uuid()}", regional=False)
    subscribers = [{**s, "Status": "CONFIRMED"} for s in asked["Subscribers"]]
    doc = {
        **asked,
        "Subscribers": subscribers,
        "SubscriptionArn": key,
        "AccountId": ACCOUNT_ID,
        "_tags": call.params.get("ResourceTags", []),
    }
    world.store.put(SUBSCRIPTION, call.region, key, doc)
    return {"SubscriptionArn": key}


async def get_subscriptions(world: World, call: Call) -> Doc:
    """GetAnomalySubscriptions."""
    wanted, monitor = call.params.get("SubscriptionArnList"), call.params.get("MonitorArn")
    docs = (
        [_find(world, call, SUBSCRIPTION, key) for key in wanted]
        if wanted
        else world.store.list(SUBSCRIPTION, call.region)
    )
    docs = [doc for doc in docs if monitor is None or monitor in doc["MonitorArnList"]]
    items, more = page([public(doc) for doc in docs], call.params, members=_PAGE)
    return {"AnomalySubscriptions": items, **more}


async def update_subscription(world: World, call: Call) -> Doc:
    """UpdateAnomalySubscription; a threshold of one kind replaces that of the other."""
    doc = _find(world, call, SUBSCRIPTION, call.params["SubscriptionArn"])
    changes = {k: v for k, v in call.params.items() if k != "SubscriptionArn" and v is not None}
    if "ThresholdExpression" in changes:
        doc.pop("Threshold", None)
    elif "Threshold" in changes:
        doc.pop("ThresholdExpression", None)
    doc |= changes
    doc["Subscribers"] = [{**s, "Status": "CONFIRMED"} for s in doc["Subscribers"]]
    _check_subscription(world, call, doc)
    world.store.put(SUBSCRIPTION, call.region, doc["SubscriptionArn"], doc)
    return {"SubscriptionArn": doc["SubscriptionArn"]}


async def delete_subscription(world: World, call: Call) -> Doc:
    """DeleteAnomalySubscription."""
    world.store.delete(
        SUBSCRIPTION, call.region, _find(world, call, SUBSCRIPTION, call.params["SubscriptionArn"])["SubscriptionArn"]
    )
    return {}


async def list_tags_of_costs(world: World, call: Call) -> Doc:
    """ListCostAllocationTags. On AWS a tag appears within a day of its use; here, when its status is first set."""
    params = call.params
    docs = [
        doc
        for doc in world.store.list(TAG, call.region)
        if params.get("Status") in (None, doc["Status"])
        and params.get("Type") in (None, doc["Type"])
        and (not params.get("TagKeys") or doc["TagKey"] in params["TagKeys"])
    ]
    items, more = page(docs, params, members=("MaxResults", "NextToken"))
    return {"CostAllocationTags": items, **more}


async def update_tags_of_costs(world: World, call: Call) -> Doc:
    """UpdateCostAllocationTagsStatus."""
    for item in call.params["CostAllocationTagsStatus"]:
        kind = "AWSGenerated" if item["TagKey"].startswith("aws:") else "UserDefined"
        world.store.put(TAG, call.region, item["TagKey"], {**item, "Type": kind, "LastUpdatedDate": _stamp(world)})
    return {"Errors": []}


def _tagged(world: World, call: Call) -> tuple[Kind, Doc]:
    for kind in (MONITOR, SUBSCRIPTION):
        if doc := world.store.get(kind, call.region, call.params["ResourceArn"]):
            return kind, doc
    raise AwsError("ResourceNotFoundException", f"No resource {call.params['ResourceArn']}")


async def tag(world: World, call: Call) -> Doc:
    """TagResource."""
    kind, doc = _tagged(world, call)
    tags = {t["Key"]: t for t in [*doc["_tags"], *call.params["ResourceTags"]]}
    world.store.amend(kind, call.region, call.params["ResourceArn"], {"_tags": list(tags.values())})
    return {}


async def untag(world: World, call: Call) -> Doc:
    """UntagResource."""
    kind, doc = _tagged(world, call)
    tags = [t for t in doc["_tags"] if t["Key"] not in call.params["ResourceTagKeys"]]
    world.store.amend(kind, call.region, call.params["ResourceArn"], {"_tags": tags})
    return {}


async def list_tags(world: World, call: Call) -> Doc:
    """ListTagsForResource."""
    return {"ResourceTags": _tagged(world, call)[1]["_tags"]}


HANDLERS: dict[tuple[str, str], Handler] = {
    ("ce", name): handler
    for name, handler in {
        "CreateAnomalyMonitor": create_monitor,
        "GetAnomalyMonitors": get_monitors,
        "UpdateAnomalyMonitor": update_monitor,
        "DeleteAnomalyMonitor": delete_monitor,
        "CreateAnomalySubscription": create_subscription,
        "GetAnomalySubscriptions": get_subscriptions,
        "UpdateAnomalySubscription": update_subscription,
        "DeleteAnomalySubscription": delete_subscription,
        "ListCostAllocationTags": list_tags_of_costs,
        "UpdateCostAllocationTagsStatus": update_tags_of_costs,
        "TagResource": tag,
        "UntagResource": untag,
        "ListTagsForResource": list_tags,
    }.items()
}
