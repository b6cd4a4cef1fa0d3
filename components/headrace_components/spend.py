"""SpendGuard: cloud budgets for environment, tenants and projects, and alerts for what no budget foresaw."""

import json
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from headrace.errors import refuse
from headrace.rules.facts import BudgetFacts, SpendFacts
from headrace.settings.base import SettingsModel, UsdPerMonth
from headrace.settings.checks.offers import MAX_THRESHOLDS
from headrace.settings.tenants import BudgetSettings
from headrace_components import documents, inputs, logs
from headrace_components.place import Place, PlaceArgs, account_of, read_place
from headrace_components.tags import COST_TAG_KEYS, Owner, cost_tags, named


class TenantBudgetArgs(TypedDict):
    """What a tenant may spend."""

    budget_usd_per_month: float
    """All its projects together."""
    projects: dict[str, float]
    """Each project, in US dollars per month."""


class SpendGuardArgs(TypedDict):
    """Arguments of `SpendGuard`."""

    place: PlaceArgs
    """Where it belongs."""
    environment_usd_per_month: float
    """What the environment may spend."""
    alert_thresholds_percent: NotRequired[list[float]]
    """Percentages of a budget at which somebody is told."""
    alert_emails: NotRequired[list[str]]
    """Whom to tell."""
    alert_webhook_url: NotRequired[pulumi.Input[str]]
    """An HTTPS address that takes SNS notifications; a secret."""
    anomaly_threshold_usd: NotRequired[float]
    """Unexpected spend from which on an anomaly is told."""
    tenants: NotRequired[dict[str, TenantBudgetArgs]]
    """Budgets of tenants and their projects."""
    activate_cost_allocation_tags: NotRequired[bool]
    """Whether to activate the cost tags in billing. Only the payer's account can, and only once a tag has been billed;
    false by default."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class _TenantBudget(SettingsModel):
    budget_usd_per_month: UsdPerMonth
    projects: dict[str, UsdPerMonth]


class SpendGuard(pulumi.ComponentResource):
    """One budget per environment, tenant and project, counted by cost-allocation tags, with alerts at thresholds and
    before the month ends above budget; and a monitor that tells of unexpected spend."""

    topic_arn: pulumi.Output[str]
    """The topic that every alert goes to."""

    def __init__(self, name: str, args: SpendGuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        webhook = args.get("alert_webhook_url")
        plain: dict[str, Any] = {key: value for key, value in args.items() if key != "alert_webhook_url"}
        settings = inputs.read(BudgetSettings, plain, "budgets")
        tenants = {
            tenant: inputs.read_model(_TenantBudget, values, f"tenants.{tenant}")
            for tenant, values in args.get("tenants", {}).items()
        }
        budgets = plan_budgets(settings, tenants)
        facts = spend_facts(place, settings, budgets).to_props()
        account = account_of(opts)
        super().__init__("headrace:index:SpendGuard", name, {"facts": facts}, opts)
        self._options = pulumi.ResourceOptions(parent=self)
        self._tags = cost_tags(place.owner(), "spend", args.get("tags"))
        topic, ready = self._topic(name, place, settings, account, webhook)
        for budget in budgets:
            self._budget(name, place, budget, topic, ready)
        self._anomalies(name, place, settings, topic, ready)
        if args.get("activate_cost_allocation_tags", False):
            for key in COST_TAG_KEYS:
                aws.costexplorer.CostAllocationTag(
                    f"{name}-{key.replace(':', '-')}", tag_key=key, status="Active", opts=self._options
                )
        self.topic_arn = topic.arn
        self.register_outputs({"topic_arn": self.topic_arn, "facts": facts})

    def _topic(
        self,
        name: str,
        place: Place,
        settings: BudgetSettings,
        account: documents.Account,
        webhook: pulumi.Input[str] | None,
    ) -> tuple[aws.sns.Topic, aws.sns.TopicPolicy]:
        key = logs.encryption_key(
            self,
            name,
            f"Cost alerts of {place.prefix}",
            documents.alert_key_policy(account),
            f"headrace/{place.prefix}/{name}",
            self._tags,
        )
        topic_name = f"{place.prefix}-{name}"
        topic = aws.sns.Topic(
            name,
            name=topic_name,
            kms_master_key_id=key.arn,
            tags=named(self._tags, topic_name),
            opts=self._options,
        )
        policy = aws.sns.TopicPolicy(
            name,
            arn=topic.arn,
            policy=topic.arn.apply(lambda arn: documents.alert_topic_policy(account, arn)),
            opts=self._options,
        )
        for index, email in enumerate(settings.alert_emails):
            aws.sns.TopicSubscription(
                f"{name}-email-{index}", topic=topic.arn, protocol="email", endpoint=email, opts=self._options
            )
        if webhook is not None:
            aws.sns.TopicSubscription(
                f"{name}-webhook",
                topic=topic.arn,
                protocol="https",
                endpoint=pulumi.Output.secret(webhook),
                opts=self._options,
            )
        return topic, policy

    def _budget(
        self, name: str, place: Place, budget: BudgetFacts, topic: aws.sns.Topic, ready: aws.sns.TopicPolicy
    ) -> None:
        owner = place.owner(budget.tenant, budget.project)
        tags = cost_tags(owner, "spend")
        suffix = "-".join(part for part in (budget.scope, budget.tenant, budget.project) if part)
        aws.budgets.Budget(
            f"{name}-{suffix}",
            name=f"{place.prefix}-{suffix}",
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=dollars(budget.usd_per_month),
            limit_unit="USD",
            cost_filters=[{"name": "TagKeyValue", "values": [budget_tag(place, budget)]}],
            notifications=[
                *(_notification("ACTUAL", percent, topic) for percent in budget.alert_thresholds_percent),
                _notification("FORECASTED", 100.0, topic),
            ],
            tags={**self._tags, **tags},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[ready]),
        )

    def _anomalies(
        self,
        name: str,
        place: Place,
        settings: BudgetSettings,
        topic: aws.sns.Topic,
        ready: aws.sns.TopicPolicy,
    ) -> None:
        monitor = aws.costexplorer.AnomalyMonitor(
            name,
            name=f"{place.prefix}-{name}",
            monitor_type="CUSTOM",
            monitor_specification=json.dumps(
                {
                    "Tags": {
                        "Key": "headrace:environment",
                        "Values": [place.environment],
                        "MatchOptions": ["EQUALS"],
                    }
                },
                sort_keys=True,
            ),
            tags=self._tags,
            opts=self._options,
        )
        aws.costexplorer.AnomalySubscription(
            name,
            name=f"{place.prefix}-{name}",
            # Only immediate reports can go to a topic.
            frequency="IMMEDIATE",
            monitor_arn_lists=[monitor.arn],
            subscribers=[{"type": "SNS", "address": topic.arn}],
            threshold_expression={
                "dimension": {
                    "key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE",
                    "match_options": ["GREATER_THAN_OR_EQUAL"],
                    "values": [dollars(settings.anomaly_threshold_usd)],
                }
            },
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[ready]),
        )


def _notification(kind: str, percent: float, topic: aws.sns.Topic) -> aws.budgets.BudgetNotificationArgs:
    """Tells the topic when spend (ACTUAL) or its forecast (FORECASTED) passes a percentage of the budget."""
    return aws.budgets.BudgetNotificationArgs(
        comparison_operator="GREATER_THAN",
        notification_type=kind,
        threshold=percent,
        threshold_type="PERCENTAGE",
        subscriber_sns_topic_arns=[topic.arn],
    )


def plan_budgets(settings: BudgetSettings, tenants: dict[str, _TenantBudget]) -> tuple[BudgetFacts, ...]:
    """The budgets of the environment, its tenants and their projects, in that order."""
    thresholds = tuple(sorted(set(settings.alert_thresholds_percent)))
    if not 1 <= len(thresholds) <= MAX_THRESHOLDS:
        raise refuse(
            "budgets.alertThresholdsPercent",
            list(thresholds),
            f"must have one to {MAX_THRESHOLDS} values",
            reason="AWS takes ten notifications per budget, and one tells of the forecast",
            next_step="keep the few that somebody acts upon",
        )
    budgets = [
        BudgetFacts(
            scope="environment",
            tenant=None,
            project=None,
            usd_per_month=settings.environment_usd_per_month,
            alert_thresholds_percent=thresholds,
        )
    ]
    for tenant, budget in sorted(tenants.items()):
        budgets.append(
            BudgetFacts(
                scope="tenant",
                tenant=tenant,
                project=None,
                usd_per_month=budget.budget_usd_per_month,
                alert_thresholds_percent=thresholds,
            )
        )
        budgets.extend(
            BudgetFacts(
                scope="project",
                tenant=tenant,
                project=project,
                usd_per_month=usd,
                alert_thresholds_percent=thresholds,
            )
            for project, usd in sorted(budget.projects.items())
        )
    return tuple(budgets)


def budget_tag(place: Place, budget: BudgetFacts) -> str:
    """The tag and value that a budget counts, as AWS Budgets writes them: `user:<key>$<value>`."""
    if budget.tenant is None:
        return f"user:headrace:environment${place.environment}"
    owner = Owner(
        organization=place.organization,
        environment=place.environment,
        tenant=budget.tenant,
        project=budget.project or "",
    )
    if budget.project is None:
        return f"user:headrace:tenant${owner.tenant_value}"
    return f"user:headrace:project${owner.project_value}"


def dollars(amount: float) -> str:
    """An amount as AWS answers it: without decimals where there are none."""
    return str(int(amount)) if amount == int(amount) else f"{amount:.2f}"


def spend_facts(place: Place, settings: BudgetSettings, budgets: tuple[BudgetFacts, ...]) -> SpendFacts:
    """What is guarded, as settings say it."""
    return SpendFacts(
        **place.facts(),
        budgets=budgets,
        alerts_encrypted=True,
        alert_emails=tuple(settings.alert_emails),
        anomaly_threshold_usd=settings.anomaly_threshold_usd,
        cost_allocation_tags=COST_TAG_KEYS,
    )
