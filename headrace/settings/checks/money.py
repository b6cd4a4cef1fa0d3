"""Checks on quotas, budgets and commitments."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.catalog import load as catalog
from headrace.errors import Problem
from headrace.settings.suggest import listing
from headrace.settings.tree import Settings


def quotas_fit_the_pools(settings: Settings) -> Iterator[Problem]:
    """All GPU quotas together are at most what the dedicated pools can grow to."""
    if any(pool.instance_type not in catalog.instance_types() for pool in settings.dedicated_pools.values()):
        return  # the unknown type is reported by itself; a sum without it would mislead
    ceiling = sum(
        pool.ceiling_nodes * catalog.instance_types()[pool.instance_type].gpu_count
        for pool in settings.dedicated_pools.values()
    )
    quotas = {
        f"{tenant_name}/{project_name}": project.quota.gpus
        for tenant_name, tenant in settings.tenants.items()
        for project_name, project in tenant.projects.items()
        if project.quota.gpus
    }
    total = sum(quotas.values())
    if total > ceiling:
        parts = listing(f"{name} {gpus}" for name, gpus in quotas.items())
        yield Problem(
            path="tenants",
            value=None,
            rule=f"their GPU quotas add up to {total} ({parts}), more than the {ceiling} GPUs "
            "that the dedicated pools can grow to",
            reason="a quota that no pool can fill is a promise that fails under load",
            next_step="lower quotas, or raise a pool's ceilingNodes",
        )


def budgets_add_up(settings: Settings) -> Iterator[Problem]:
    """Projects stay within their tenant, tenants within the environment; thresholds rise."""
    for name, tenant in settings.tenants.items():
        projects = sum(project.budget_usd_per_month for project in tenant.projects.values())
        if projects > tenant.budget_usd_per_month:
            yield Problem(
                path=f"tenants.{name}.budgetUsdPerMonth",
                value=tenant.budget_usd_per_month,
                rule=f"it must be at least what its projects may spend together ({projects:,.2f})",
                reason="otherwise the tenant's budget stops a project that kept its own",
                next_step="raise it, or lower the projects' budgets",
            )
    total = sum(tenant.budget_usd_per_month for tenant in settings.tenants.values())
    if total > settings.budgets.environment_usd_per_month:
        yield Problem(
            path="budgets.environmentUsdPerMonth",
            value=settings.budgets.environment_usd_per_month,
            rule=f"it must be at least what the tenants may spend together ({total:,.2f})",
            reason="otherwise the environment's budget stops a tenant that kept its own",
            next_step="raise it, or lower the tenants' budgets",
        )
    thresholds = settings.budgets.alert_thresholds_percent
    if sorted(set(thresholds)) != thresholds:
        yield Problem(
            path="budgets.alertThresholdsPercent",
            value=", ".join(f"{threshold:g}" for threshold in thresholds),
            rule="thresholds must rise, each once",
            reason="every threshold becomes one alert",
            next_step=f"write {', '.join(f'{threshold:g}' for threshold in sorted(set(thresholds)))}",
        )


def commitments_hold(settings: Settings) -> Iterator[Problem]:
    """Contracts end after they start, families exist, and the sum is within the cap."""
    commitments = settings.commitments
    for name, contract in commitments.contracts.items():
        if contract.ends_on <= contract.starts_on:
            yield Problem(
                path=f"commitments.contracts.{name}.endsOn",
                value=str(contract.ends_on),
                rule=f"it must be after startsOn ({contract.starts_on})",
                reason="a contract lasts at least a day",
                next_step="correct one of the two dates",
            )
    for name, plan in commitments.savings_plans.items():
        families = {instance.family for instance in catalog.instance_types().values()}
        if plan.kind == "ec2-instance" and plan.instance_family not in families:
            yield Problem(
                path=f"commitments.savingsPlans.{name}.instanceFamily",
                value=plan.instance_family,
                rule="an EC2 instance plan needs the family it covers",
                reason="it discounts nothing else",
                next_step=f"write one of {listing(families, limit=20)}",
            )
    # 730 hours: AWS bills a month as 8760 / 12 hours
    committed = sum(plan.commitment_usd_per_hour * 730 for plan in commitments.savings_plans.values())
    committed += sum(contract.minimum_usd_per_month for contract in commitments.contracts.values())
    cap = commitments.max_committed_usd_per_month
    if cap is not None and committed > cap:
        yield Problem(
            path="commitments.maxCommittedUsdPerMonth",
            value=cap,
            rule=f"commitments in force add up to {committed:,.2f} a month",
            reason="the cap is what the organisation agreed to promise at most",
            next_step="end a commitment, or have the cap raised",
        )
