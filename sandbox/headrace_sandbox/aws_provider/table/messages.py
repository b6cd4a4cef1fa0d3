"""SNS topics, SQS queues, EventBridge rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.documents import same_document
from headrace_sandbox.aws_provider.sdk import declaration, format_number
from headrace_sandbox.aws_provider.spec import Call, Name, Read, ResourceType, State, Tags, Update
from headrace_sandbox.aws_provider.table.parts import upper_arn_tags, words

# -- Attributes --------------------------------------------------------------------------------------------------------
# SNS and SQS keep most properties in one map of texts, whose keys are the property's name with capitals.


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_number(value) if isinstance(value, int | float) else str(value)


def _attributes(names: Mapping[str, str], inputs: Mapping[str, Any]) -> dict[str, str]:
    return {a: _text(inputs[n]) for n, a in names.items() if inputs.get(n) is not None and inputs[n] != ""}


def _from_attributes(token: str, names: Mapping[str, str], live: Mapping[str, str], known: State) -> State:
    """Attributes as properties of their declared types; a document keeps the program's words."""
    types = declaration(token).outputs
    state: State = {}
    for name, attribute in names.items():
        text = live.get(attribute)
        if text is None or name not in types:
            continue
        if types[name] == "integer":
            state[name] = int(text)
        elif types[name] == "boolean":
            state[name] = text.lower() == "true"
        else:
            state[name] = known[name] if same_document(text, known.get(name)) else text
    return state


# -- SNS ---------------------------------------------------------------------------------------------------------------

_TOPIC_ATTRIBUTES = {
    "archivePolicy": "ArchivePolicy",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "deliveryPolicy": "DeliveryPolicy",
    "displayName": "DisplayName",
    "fifoThroughputScope": "FifoThroughputScope",
    "fifoTopic": "FifoTopic",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "policy": "Policy",
    "signatureVersion": "SignatureVersion",
    "tracingConfig": "TracingConfig",
}
_TOPIC_READ = {**_TOPIC_ATTRIBUTES, "owner": "Owner", "arn": "TopicArn", "beginningArchiveTime": "BeginningArchiveTime"}
_TOPIC = "aws:sns/topic:Topic"


def _topic_attributes(params: State, inputs: State, _same: State) -> None:
    attributes = _attributes(_TOPIC_ATTRIBUTES, {k: v for k, v in inputs.items() if v is not False})
    if attributes:
        params["Attributes"] = attributes


def _topic_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    for name in sorted(changed & _TOPIC_ATTRIBUTES.keys()):
        value = inputs.get(name)
        params = {"TopicArn": old["id"], "AttributeName": _TOPIC_ATTRIBUTES[name]}
        ctx.call("SetTopicAttributes", {**params, "AttributeValue": "" if value is None else _text(value)})


def _topic_details(_ctx: Context, resource: State, state: State, known: State) -> None:
    state.update(_from_attributes(_TOPIC, _TOPIC_READ, resource, known))
    state["name"] = str(state["id"]).rpartition(":")[2]


_TOPIC_TYPE = ResourceType(
    type=_TOPIC,
    service="sns",
    create=Call(op="CreateTopic", props=("name",), finish=_topic_attributes),
    created={"id": "TopicArn"},
    read=Read(op="GetTopicAttributes", args={"TopicArn": "{id}"}, at="Attributes", missing=("NotFound*",)),
    delete=Call(op="DeleteTopic", args={"TopicArn": "{id}"}),
    settle=("InvalidParameter~Policy Error",),
    arn="{id}",
    replace=words("fifoTopic name namePrefix"),
    computed=words("name policy signatureVersion tracingConfig fifoThroughputScope displayName"),
    documents=words("archivePolicy deliveryPolicy policy"),
    hooked=frozenset(_TOPIC_ATTRIBUTES),
    local=words("namePrefix"),
    refused=frozenset(
        f"{kind}{what}"
        for kind in ("application", "firehose", "http", "lambda", "sqs")
        for what in ("FailureFeedbackRoleArn", "SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate")
    )
    | words("maximumMessageSize"),
    name=Name(prefix_property="namePrefix", limit=256, suffix_from=("fifoTopic", ".fifo")),
    tags=upper_arn_tags(),
    on_update=_topic_changed,
    amend=_topic_details,
)


def _set_topic_policy(ctx: Context, state: State) -> State:
    params = {"TopicArn": state["arn"], "AttributeName": "Policy", "AttributeValue": state["policy"]}
    ctx.call("SetTopicAttributes", params)
    return {"id": state["arn"]}


def _topic_policy(_ctx: Context, resource: State, state: State, known: State) -> None:
    live = resource.get("Policy")
    state |= {"arn": state["id"], "owner": resource.get("Owner")}
    state["policy"] = known["policy"] if same_document(live, known.get("policy")) else live


def _reset_topic_policy(ctx: Context, state: State) -> None:
    """A topic always has a policy: back to the one it is born with (its owner may do everything)."""
    owner = state["id"].split(":")[4]
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [
            f"SNS:{a}"
            for a in (
                "GetTopicAttributes",
                "SetTopicAttributes",
                "AddPermission",
                "RemovePermission",
                "DeleteTopic",
                "Subscribe",
                "ListSubscriptionsByTopic",
                "Publish",
            )
        ],
        "Resource": state["id"],
        "Condition": {"StringEquals": {"AWS:SourceOwner": owner}},
    }
    policy = json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})
    _set_topic_policy(ctx, {"arn": state["id"], "policy": policy})


_TOPIC_POLICY = ResourceType(
    type="aws:sns/topicPolicy:TopicPolicy",
    service="sns",
    on_create=_set_topic_policy,
    read=Read(op="GetTopicAttributes", args={"TopicArn": "{id}"}, at="Attributes", missing=("NotFound*",)),
    on_update=lambda ctx, _old, inputs, _changed: _set_topic_policy(ctx, inputs),
    on_delete=_reset_topic_policy,
    settle=("InvalidParameter~Policy Error",),
    replace=words("arn"),
    hooked=words("arn policy"),
    documents=words("policy"),
    amend=_topic_policy,
)

_SUBSCRIPTION_ATTRIBUTES = {
    "deliveryPolicy": "DeliveryPolicy",
    "filterPolicy": "FilterPolicy",
    "filterPolicyScope": "FilterPolicyScope",
    "rawMessageDelivery": "RawMessageDelivery",
    "redrivePolicy": "RedrivePolicy",
    "replayPolicy": "ReplayPolicy",
    "subscriptionRoleArn": "SubscriptionRoleArn",
}
_SUBSCRIPTION_READ = {
    **_SUBSCRIPTION_ATTRIBUTES,
    "arn": "SubscriptionArn",
    "topic": "TopicArn",
    "protocol": "Protocol",
    "endpoint": "Endpoint",
    "ownerId": "Owner",
    "pendingConfirmation": "PendingConfirmation",
    "confirmationWasAuthenticated": "ConfirmationWasAuthenticated",
}
_SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"


def _subscribe(params: State, inputs: State, _same: State) -> None:
    attributes = _attributes(_SUBSCRIPTION_ATTRIBUTES, {k: v for k, v in inputs.items() if v is not False})
    if attributes:
        params["Attributes"] = attributes
    params["ReturnSubscriptionArn"] = True


def _subscription_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    for name in sorted(changed & _SUBSCRIPTION_ATTRIBUTES.keys()):
        value = inputs.get(name)
        params = {"SubscriptionArn": old["id"], "AttributeName": _SUBSCRIPTION_ATTRIBUTES[name]}
        ctx.call("SetSubscriptionAttributes", {**params, "AttributeValue": "" if value is None else _text(value)})


def _subscription_details(_ctx: Context, resource: State, state: State, known: State) -> None:
    state.update(_from_attributes(_SUBSCRIPTION, _SUBSCRIPTION_READ, resource, known))


_SUBSCRIPTION_TYPE = ResourceType(
    type=_SUBSCRIPTION,
    service="sns",
    create=Call(op="Subscribe", props=("endpoint", "protocol", "topic"), finish=_subscribe),
    created={"id": "SubscriptionArn"},
    read=Read(
        op="GetSubscriptionAttributes", args={"SubscriptionArn": "{id}"}, at="Attributes", missing=("NotFound*",)
    ),
    delete=Call(op="Unsubscribe", args={"SubscriptionArn": "{id}"}),
    rename={"topic": "TopicArn"},
    arn="{id}",
    replace=words("endpoint protocol topic"),
    computed=words("filterPolicyScope"),
    defaults={"confirmationTimeoutInMinutes": 1, "endpointAutoConfirms": False, "rawMessageDelivery": False},
    documents=words("deliveryPolicy filterPolicy redrivePolicy replayPolicy"),
    hooked=frozenset(_SUBSCRIPTION_ATTRIBUTES),
    local=words("confirmationTimeoutInMinutes endpointAutoConfirms"),
    on_update=_subscription_changed,
    amend=_subscription_details,
)

# -- SQS ---------------------------------------------------------------------------------------------------------------

_QUEUE_ATTRIBUTES = {
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "deduplicationScope": "DeduplicationScope",
    "delaySeconds": "DelaySeconds",
    "fifoQueue": "FifoQueue",
    "fifoThroughputLimit": "FifoThroughputLimit",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "maxMessageSize": "MaximumMessageSize",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "policy": "Policy",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "redriveAllowPolicy": "RedriveAllowPolicy",
    "redrivePolicy": "RedrivePolicy",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
}
_QUEUE = "aws:sqs/queue:Queue"
_NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def _queue_attributes(params: State, inputs: State, _same: State) -> None:
    attributes = _attributes(_QUEUE_ATTRIBUTES, {k: v for k, v in inputs.items() if v is not False})
    if attributes:
        params["Attributes"] = attributes


def _queue_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    attributes = {
        _QUEUE_ATTRIBUTES[n]: "" if inputs.get(n) is None else _text(inputs[n])
        for n in changed
        if n in _QUEUE_ATTRIBUTES
    }
    if attributes:
        ctx.call("SetQueueAttributes", {"QueueUrl": old["id"], "Attributes": attributes})


def _queue_details(_ctx: Context, resource: State, state: State, known: State) -> None:
    state.update(_from_attributes(_QUEUE, {**_QUEUE_ATTRIBUTES, "arn": "QueueArn"}, resource, known))
    state["url"] = state["id"]
    state["name"] = str(state["id"]).rpartition("/")[2]


_READ_QUEUE = Read(
    op="GetQueueAttributes",
    args={"QueueUrl": "{id}", "AttributeNames": ["All"]},
    at="Attributes",
    missing=_NO_QUEUE,
)

_QUEUE_TYPE = ResourceType(
    type=_QUEUE,
    service="sqs",
    create=Call(op="CreateQueue", props=("name",), rename={"name": "QueueName"}, finish=_queue_attributes),
    created={"id": "QueueUrl"},
    read=_READ_QUEUE,
    delete=Call(op="DeleteQueue", args={"QueueUrl": "{id}"}),
    replace=words("fifoQueue name namePrefix"),
    computed=words(
        "name policy kmsDataKeyReusePeriodSeconds sqsManagedSseEnabled deduplicationScope fifoThroughputLimit"
        " redriveAllowPolicy redrivePolicy"
    ),
    defaults={
        "delaySeconds": 0,
        "maxMessageSize": 262144,
        "messageRetentionSeconds": 345600,
        "receiveWaitTimeSeconds": 0,
        "visibilityTimeoutSeconds": 30,
    },
    documents=words("policy redriveAllowPolicy redrivePolicy"),
    hooked=frozenset(_QUEUE_ATTRIBUTES),
    local=words("namePrefix"),
    name=Name(prefix_property="namePrefix", limit=80, suffix_from=("fifoQueue", ".fifo")),
    tags=Tags(
        create="tags",
        tag="TagQueue",
        tag_member="Tags",
        untag="UntagQueue",
        untag_member="TagKeys",
        target={"QueueUrl": "{id}"},
        list=Read(op="ListQueueTags", args={"QueueUrl": "{id}"}, at="Tags"),
    ),
    on_update=_queue_changed,
    amend=_queue_details,
)


def _set_queue_policy(ctx: Context, state: State) -> State:
    ctx.call("SetQueueAttributes", {"QueueUrl": state["queueUrl"], "Attributes": {"Policy": state.get("policy", "")}})
    return {"id": state["queueUrl"]}


def _queue_policy(_ctx: Context, resource: State, state: State, known: State) -> None:
    live = resource.get("Policy")
    state["queueUrl"] = state["id"]
    state["policy"] = known["policy"] if same_document(live, known.get("policy")) else live


def _find_queue_policy(ctx: Context, state: State) -> State | None:
    live = ctx.call("GetQueueAttributes", {"QueueUrl": state["id"], "AttributeNames": ["Policy"]}).get("Attributes", {})
    return live if live.get("Policy") else None


_QUEUE_POLICY = ResourceType(
    type="aws:sqs/queuePolicy:QueuePolicy",
    service="sqs",
    on_create=_set_queue_policy,
    on_read=_find_queue_policy,
    read=_READ_QUEUE,
    on_update=lambda ctx, _old, inputs, _changed: _set_queue_policy(ctx, inputs),
    on_delete=lambda ctx, state: _set_queue_policy(ctx, {"queueUrl": state["id"]}),
    replace=words("queueUrl"),
    hooked=words("queueUrl policy"),
    documents=words("policy"),
    amend=_queue_policy,
)

# -- EventBridge -------------------------------------------------------------------------------------------------------

_RULE_PROPS = ("description", "eventPattern", "roleArn", "scheduleExpression", "state")
_RULE_KEY = {"Name": "{name}", "EventBusName": "{eventBusName}"}


def _rule_state(params: State, _state: State, inputs: State) -> None:
    if inputs.get("isEnabled") is not None:
        params["State"] = "ENABLED" if inputs["isEnabled"] else "DISABLED"


def _rule_details(_ctx: Context, resource: State, state: State, _known: State) -> None:
    state["isEnabled"] = resource.get("State") == "ENABLED"
    state.setdefault("eventBusName", "default")


_EVENT_RULE = ResourceType(
    type="aws:cloudwatch/eventRule:EventRule",
    service="events",
    create=Call(op="PutRule", props=None, finish=_rule_state),
    id="{name}",
    import_id=("name",),
    read=Read(op="DescribeRule", args=_RULE_KEY, missing=("ResourceNotFoundException",)),
    updates=(
        Update(op="PutRule", args=_RULE_KEY, on=(*_RULE_PROPS, "isEnabled"), props=_RULE_PROPS, finish=_rule_state),
    ),
    delete=Call(op="DeleteRule", args={**_RULE_KEY, "Force": "{forceDestroy}"}),
    replace=words("eventBusName name namePrefix"),
    computed=words("name state isEnabled"),
    defaults={"eventBusName": "default", "forceDestroy": False},
    documents=words("eventPattern"),
    local=words("forceDestroy namePrefix"),
    hooked=words("isEnabled"),
    name=Name(prefix_property="namePrefix", limit=64),
    tags=upper_arn_tags(target="ResourceARN"),
    amend=_rule_details,
)

_TARGET_PROPS = (
    "arn",
    "input",
    "inputPath",
    "roleArn",
    "deadLetterConfig",
    "retryPolicy",
    "inputTransformer",
    "sqsTarget",
)
_TARGET_MEMBERS = {
    "arn": "Arn",
    "input": "Input",
    "inputPath": "InputPath",
    "roleArn": "RoleArn",
    "deadLetterConfig": "DeadLetterConfig",
    "retryPolicy": "RetryPolicy",
    "inputTransformer": "InputTransformer",
    "sqsTarget": "SqsParameters",
}


def _find_target(ctx: Context, state: State) -> State | None:
    key = {"Rule": state["rule"], "EventBusName": state.get("eventBusName") or "default"}
    for target in ctx.pages("ListTargetsByRule", key, "Targets"):
        if target["Id"] == state["targetId"]:
            return {**target, **key}
    return None


_TARGET_KEY = {"Rule": "{rule}", "EventBusName": "{eventBusName}", "Targets": [{"Id": "{targetId}"}]}

_EVENT_TARGET = ResourceType(
    type="aws:cloudwatch/eventTarget:EventTarget",
    service="events",
    create=Call(op="PutTargets", args=_TARGET_KEY, props=_TARGET_PROPS),
    id="{rule}-{targetId}",
    import_id=("eventBusName", "rule", "targetId"),
    separator="/",
    on_read=_find_target,
    read=Read(op="ListTargetsByRule", missing=("ResourceNotFoundException",)),
    updates=(Update(op="PutTargets", args=_TARGET_KEY, on=_TARGET_PROPS, props=_TARGET_PROPS),),
    delete=Call(
        op="RemoveTargets",
        args={"Rule": "{rule}", "EventBusName": "{eventBusName}", "Ids": ["{targetId}"], "Force": "{forceDestroy}"},
    ),
    rename={n: f"Targets.{m}" for n, m in _TARGET_MEMBERS.items()} | {"inputTransformer.inputPaths": "InputPathsMap"},
    outputs={**_TARGET_MEMBERS, "targetId": "Id", "rule": "Rule", "eventBusName": "EventBusName"},
    replace=words("eventBusName rule targetId"),
    computed=words("targetId"),
    defaults={"eventBusName": "default", "forceDestroy": False},
    documents=words("input"),
    local=words("forceDestroy"),
    hooked=words("rule eventBusName targetId"),
    refused=words(
        "appsyncTarget batchTarget ecsTarget httpTarget kinesisTarget redshiftTarget runCommandTargets"
        " sagemakerPipelineTarget"
    ),
    name=Name(property="targetId", limit=64),
)

ROWS = (
    _TOPIC_TYPE,
    _TOPIC_POLICY,
    _SUBSCRIPTION_TYPE,
    _QUEUE_TYPE,
    _QUEUE_POLICY,
    _EVENT_RULE,
    _EVENT_TARGET,
)
