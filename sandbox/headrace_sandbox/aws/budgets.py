"""AWS Budgets, served whole: budgets, notifications, subscribers, actions and tags."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import ACCOUNT_ID, arn, uuid
from headrace_sandbox.aws.store import Kind, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World, page

BUDGET = Kind(service="budgets", name="budget", regional=False)
ACTION = Kind(service="budgets", name="action", regional=False)

_MOST_NOTIFICATIONS = 5
_MOST_SUBSCRIBERS = 11
"""A notification goes to one SNS topic and at most ten email addresses (Budgets API reference, Subscriber)."""
_FOREVER = datetime(2087, 6, 15, tzinfo=UTC).timestamp()
"""The end that AWS shows for a budget without one."""
_COST_TYPES = {
    "IncludeTax": True,
    "IncludeSubscription": True,
    "UseBlended": False,
    "IncludeRefund": True,
    "IncludeCredit": True,
    "IncludeUpfront": True,
    "IncludeRecurring": True,
    "IncludeOtherSubscription": True,
    "IncludeSupport": True,
    "IncludeDiscount": True,
    "UseAmortized": False,
}
_NOTIFICATION = ("NotificationType", "ComparisonOperator", "Threshold", "ThresholdType")
_STARTS = {"DAILY": 0, "MONTHLY": 1, "QUARTERLY": 1, "ANNUALLY": 1}


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def _not_found(message: str) -> AwsError:
    return AwsError("NotFoundException", message)


def _time(value: object, default: float) -> float:
    return value.replace(tzinfo=UTC).timestamp() if isinstance(value, datetime) else default


def _shown(world: World, asked: Doc, before: Doc | None = None) -> Doc:
    """A budget as DescribeBudget shows it, with AWS's defaults."""
    month = (
        datetime.fromtimestamp(world.now(), UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    )
    period = asked.get("TimePeriod") or {}
    old = (before or {}).get("TimePeriod", {"Start": month, "End": _FOREVER})
    if asked["BudgetType"] == "COST" and not (
        asked.get("BudgetLimit") or asked.get("PlannedBudgetLimits") or asked.get("AutoAdjustData")
    ):
        raise _invalid("A cost budget needs BudgetLimit, PlannedBudgetLimits or AutoAdjustData")
    limit = asked.get("BudgetLimit")
    if limit and not 0 < float(limit["Amount"]) < 1e15:
        raise _invalid(f"Budget limit amount should be greater than 0, not {limit['Amount']}")
    return {
        **asked,
        **({"CostTypes": _COST_TYPES | asked.get("CostTypes", {})} if not asked.get("Metrics") else {}),
        "CostFilters": asked.get("CostFilters") or {},
        "TimePeriod": {"Start": _time(period.get("Start"), old["Start"]), "End": _time(period.get("End"), old["End"])},
        "CalculatedSpend": {"ActualSpend": {"Amount": "0.0", "Unit": (limit or {}).get("Unit", "USD")}},
        "LastUpdatedTime": world.now(),
        "HealthStatus": {"Status": "HEALTHY"},
    }


def _need(world: World, call: Call) -> Doc:
    if call.params["AccountId"] != ACCOUNT_ID:
        raise AwsError("AccessDeniedException", f"Account {call.params['AccountId']} isn't the caller's account")
    name = call.params["BudgetName"]
    doc = world.store.get(BUDGET, call.region, name)
    if doc is None:
        raise _not_found(f"Unable to get budget: {name} - the budget doesn't exist.")
    return doc


def _save(world: World, call: Call, doc: Doc) -> None:
    world.store.put(BUDGET, call.region, doc["Budget"]["BudgetName"], doc)


def _key(notification: Doc) -> list[object]:
    whole = {"ThresholdType": "PERCENTAGE", **notification}
    return [float(whole["Threshold"]) if k == "Threshold" else whole[k] for k in _NOTIFICATION]


def _check_subscribers(subscribers: list[Doc]) -> None:
    topics = [s for s in subscribers if s["SubscriptionType"] == "SNS"]
    if not 0 < len(subscribers) <= _MOST_SUBSCRIBERS or len(topics) > 1:
        raise _invalid("A notification has 1 to 11 subscribers: at most one SNS topic and ten email addresses")
    for subscriber in topics:
        if not subscriber["Address"].startswith("arn:"):
            raise _invalid(f"Invalid SNS topic ARN: {subscriber['Address']}")


def _add(doc: Doc, notification: Doc, subscribers: list[Doc]) -> None:
    _check_subscribers(subscribers)
    if any(_key(entry["Notification"]) == _key(notification) for entry in doc["Notifications"]):
        raise AwsError("DuplicateRecordException", "The notification already exists.")
    if len(doc["Notifications"]) >= _MOST_NOTIFICATIONS:
        raise AwsError(
            "CreationLimitExceededException", f"A budget can't have more than {_MOST_NOTIFICATIONS} notifications"
        )
    shown = {"ThresholdType": "PERCENTAGE", **notification, "NotificationState": "OK"}
    doc["Notifications"].append({"Notification": shown, "Subscribers": subscribers})


async def create(world: World, call: Call) -> Doc:
    """CreateBudget."""
    budget = call.params["Budget"]
    name = budget["BudgetName"]
    if world.store.get(BUDGET, call.region, name) is not None:
        raise AwsError("DuplicateRecordException", f"Error creating budget: {name} - the budget already exists.")
    doc: Doc = {"Budget": _shown(world, budget), "Notifications": [], "Tags": call.params.get("ResourceTags", [])}
    for entry in call.params.get("NotificationsWithSubscribers", []):
        _add(doc, entry["Notification"], entry["Subscribers"])
    _save(world, call, doc)
    return {}


async def describe(world: World, call: Call) -> Doc:
    """DescribeBudget."""
    return {"Budget": _need(world, call)["Budget"]}


async def describe_all(world: World, call: Call) -> Doc:
    """DescribeBudgets."""
    items, more = page(
        [doc["Budget"] for doc in world.store.list(BUDGET, call.region)],
        call.params,
        members=("MaxResults", "NextToken"),
    )
    return {"Budgets": items, **more}


async def update(world: World, call: Call) -> Doc:
    """UpdateBudget: the whole budget is replaced, its notifications stay."""
    new = call.params["NewBudget"]
    doc = world.store.get(BUDGET, call.region, new["BudgetName"])
    if doc is None:
        raise _not_found(f"Unable to get budget: {new['BudgetName']} - the budget doesn't exist.")
    if new["BudgetType"] != doc["Budget"]["BudgetType"]:
        raise _invalid("The type of a budget can't be changed")
    doc["Budget"] = _shown(world, new, doc["Budget"])
    _save(world, call, doc)
    return {}


async def delete(world: World, call: Call) -> Doc:
    """DeleteBudget, with its actions."""
    doc = _need(world, call)
    for action in world.store.list(ACTION, call.region, parent=doc["Budget"]["BudgetName"]):
        world.store.delete(ACTION, call.region, action["ActionId"])
    world.store.delete(BUDGET, call.region, doc["Budget"]["BudgetName"])
    return {}


def _entry(doc: Doc, notification: Doc) -> Doc:
    for entry in doc["Notifications"]:
        if _key(entry["Notification"]) == _key(notification):
            found: Doc = entry
            return found
    raise _not_found("Unable to find the notification: it doesn't exist.")


async def describe_notifications(world: World, call: Call) -> Doc:
    """DescribeNotificationsForBudget."""
    return {"Notifications": [entry["Notification"] for entry in _need(world, call)["Notifications"]]}


async def create_notification(world: World, call: Call) -> Doc:
    """CreateNotification."""
    doc = _need(world, call)
    _add(doc, call.params["Notification"], call.params["Subscribers"])
    _save(world, call, doc)
    return {}


async def update_notification(world: World, call: Call) -> Doc:
    """UpdateNotification."""
    doc = _need(world, call)
    entry = _entry(doc, call.params["OldNotification"])
    entry["Notification"] = {"ThresholdType": "PERCENTAGE", **call.params["NewNotification"], "NotificationState": "OK"}
    _save(world, call, doc)
    return {}


async def delete_notification(world: World, call: Call) -> Doc:
    """DeleteNotification."""
    doc = _need(world, call)
    doc["Notifications"].remove(_entry(doc, call.params["Notification"]))
    _save(world, call, doc)
    return {}


async def describe_subscribers(world: World, call: Call) -> Doc:
    """DescribeSubscribersForNotification."""
    return {"Subscribers": _entry(_need(world, call), call.params["Notification"])["Subscribers"]}


async def create_subscriber(world: World, call: Call) -> Doc:
    """CreateSubscriber."""
    doc = _need(world, call)
    entry = _entry(doc, call.params["Notification"])
    if call.params["Subscriber"] in entry["Subscribers"]:
        raise AwsError("DuplicateRecordException", "The subscriber already exists.")
    _check_subscribers([*entry["Subscribers"], call.params["Subscriber"]])
    entry["Subscribers"].append(call.params["Subscriber"])
    _save(world, call, doc)
    return {}


async def delete_subscriber(world: World, call: Call) -> Doc:
    """DeleteSubscriber; the last one takes the notification along."""
    doc = _need(world, call)
    entry = _entry(doc, call.params["Notification"])
    if call.params["Subscriber"] not in entry["Subscribers"]:
        raise _not_found("Unable to find the subscriber: it doesn't exist.")
    entry["Subscribers"].remove(call.params["Subscriber"])
    if not entry["Subscribers"]:
        doc["Notifications"].remove(entry)
    _save(world, call, doc)
    return {}


async def update_subscriber(world: World, call: Call) -> Doc:
    """UpdateSubscriber."""
    doc = _need(world, call)
    subscribers = _entry(doc, call.params["Notification"])["Subscribers"]
    if call.params["OldSubscriber"] not in subscribers:
        raise _not_found("Unable to find the subscriber: it doesn't exist.")
    subscribers[subscribers.index(call.params["OldSubscriber"])] = call.params["NewSubscriber"]
    _check_subscribers(subscribers)
    _save(world, call, doc)
    return {}


_ACTION = (
    "NotificationType",
    "ActionType",
    "ActionThreshold",
    "Definition",
    "ExecutionRoleArn",
    "ApprovalModel",
    "Subscribers",
)


async def create_action(world: World, call: Call) -> Doc:
    """CreateBudgetAction: kept, never carried out."""
    name = _need(world, call)["Budget"]["BudgetName"]
    action = {"ActionId": uuid(), "BudgetName": name, "Status": "STANDBY", "_tags": call.params.get("ResourceTags", [])}
    action |= {k: call.params[k] for k in _ACTION}
    world.store.put(ACTION, call.region, action["ActionId"], action, parent=name)
    return {"AccountId": ACCOUNT_ID, "BudgetName": name, "ActionId": action["ActionId"]}


def _need_action(world: World, call: Call) -> Doc:
    name = _need(world, call)["Budget"]["BudgetName"]
    action = world.store.get(ACTION, call.region, call.params["ActionId"])
    if action is None or action["BudgetName"] != name:
        raise _not_found(f"Unable to find action {call.params['ActionId']} of budget {name}")
    return action


async def describe_action(world: World, call: Call) -> Doc:
    """DescribeBudgetAction."""
    action = _need_action(world, call)
    return {"AccountId": ACCOUNT_ID, "BudgetName": action["BudgetName"], "Action": public(action)}


async def update_action(world: World, call: Call) -> Doc:
    """UpdateBudgetAction."""
    old = _need_action(world, call)
    new = old | {k: call.params[k] for k in _ACTION if call.params.get(k) is not None}
    world.store.put(ACTION, call.region, new["ActionId"], new, parent=new["BudgetName"])
    return {
        "AccountId": ACCOUNT_ID,
        "BudgetName": new["BudgetName"],
        "OldAction": public(old),
        "NewAction": public(new),
    }


async def delete_action(world: World, call: Call) -> Doc:
    """DeleteBudgetAction."""
    action = _need_action(world, call)
    world.store.delete(ACTION, call.region, action["ActionId"])
    return {"AccountId": ACCOUNT_ID, "BudgetName": action["BudgetName"], "Action": public(action)}


async def list_actions(world: World, call: Call) -> Doc:
    """DescribeBudgetActionsForBudget."""
    name = _need(world, call)["Budget"]["BudgetName"]
    return {"Actions": [public(action) for action in world.store.list(ACTION, call.region, parent=name)]}


def _tagged(world: World, call: Call) -> tuple[Kind, str, Doc, str]:
    """Kind, key, document and member of the tags of the resource that an ARN names."""
    wanted = call.params["ResourceARN"]
    for doc in world.store.list(BUDGET, call.region):
        name = doc["Budget"]["BudgetName"]
        if wanted == arn("budgets", call.region, f"budget/{name}", regional=False):
            return BUDGET, name, doc, "Tags"
    for action in world.store.list(ACTION, call.region):
        if wanted == arn(
            "budgets", call.region, f"budget/{action['BudgetName']}/action/{action['ActionId']}", regional=False
        ):
            return ACTION, action["ActionId"], action, "_tags"
    raise _not_found(f"Unable to find the resource {wanted}")


async def tag(world: World, call: Call) -> Doc:
    """TagResource."""
    kind, key, doc, member = _tagged(world, call)
    tags = {t["Key"]: t for t in [*doc[member], *call.params["ResourceTags"]]}
    world.store.amend(kind, call.region, key, {member: list(tags.values())})
    return {}


async def untag(world: World, call: Call) -> Doc:
    """UntagResource."""
    kind, key, doc, member = _tagged(world, call)
    world.store.amend(
        kind, call.region, key, {member: [t for t in doc[member] if t["Key"] not in call.params["ResourceTagKeys"]]}
    )
    return {}


async def list_tags(world: World, call: Call) -> Doc:
    """ListTagsForResource."""
    _, _, doc, member = _tagged(world, call)
    return {"ResourceTags": doc[member]}


HANDLERS: dict[tuple[str, str], Handler] = {
    ("budgets", name): handler
    for name, handler in {
        "CreateBudget": create,
        "DescribeBudget": describe,
        "DescribeBudgets": describe_all,
        "UpdateBudget": update,
        "DeleteBudget": delete,
        "DescribeNotificationsForBudget": describe_notifications,
        "CreateNotification": create_notification,
        "UpdateNotification": update_notification,
        "DeleteNotification": delete_notification,
        "DescribeSubscribersForNotification": describe_subscribers,
        "CreateSubscriber": create_subscriber,
        "UpdateSubscriber": update_subscriber,
        "DeleteSubscriber": delete_subscriber,
        "CreateBudgetAction": create_action,
        "DescribeBudgetAction": describe_action,
        "UpdateBudgetAction": update_action,
        "DeleteBudgetAction": delete_action,
        "DescribeBudgetActionsForBudget": list_actions,
        "TagResource": tag,
        "UntagResource": untag,
        "ListTagsForResource": list_tags,
    }.items()
}
