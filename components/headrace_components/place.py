"""Where a component belongs. One record, the same for all components of a stack."""

# No `from __future__ import annotations` here or in any module that defines component arguments: the schema of the
# component package is read from these annotations at run time.
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict
from weakref import WeakKeyDictionary

import pulumi
import pulumi_aws as aws

from headrace.catalog import load
from headrace.errors import refuse
from headrace.settings.base import Name, Region, SettingsModel
from headrace.settings.tree import Stage
from headrace_components import inputs
from headrace_components.documents import Account, account_from_caller
from headrace_components.tags import Owner


class PlaceArgs(TypedDict):
    """Organization, environment, stage and region of a component."""

    organization: str
    """Who owns the account. Part of names and tags."""
    environment: str
    """The environment's name, for example `prod-eu`."""
    stage: str
    """How much is at stake: sandbox, development, staging or production."""
    region: str
    """AWS region."""


class PlaceModel(SettingsModel):
    """`PlaceArgs`, validated."""

    organization: Name
    environment: Name
    stage: Stage
    region: Region


@dataclass(frozen=True, kw_only=True)
class Place:
    """`PlaceArgs` with what the catalogue knows of the region."""

    organization: str
    environment: str
    stage: str
    region: str
    jurisdiction: str

    @property
    def prefix(self) -> str:
        """`<organization>-<environment>`: begins the names of what can't be autonamed."""
        return f"{self.organization}-{self.environment}"

    def facts(self) -> dict[str, Any]:
        """The fields that every facts record begins with."""
        return {
            "organization": self.organization,
            "environment": self.environment,
            "stage": self.stage,
            "region": self.region,
            "jurisdiction": self.jurisdiction,
        }

    def owner(self, tenant: str | None = None, project: str | None = None) -> Owner:
        """Whom a resource's cost is for; without tenant it is everybody's."""
        shared = Owner(organization=self.organization, environment=self.environment)
        if tenant is None or project is None:
            return shared
        return Owner(organization=self.organization, environment=self.environment, tenant=tenant, project=project)


def read_place(args: PlaceArgs) -> Place:
    """`args` checked against the catalogue: a region without a known jurisdiction can't be judged, so it is refused."""
    model = inputs.read(PlaceModel, args, "place")
    row = load.aws_regions().get(model.region)
    if row is None:
        raise refuse(
            "region",
            model.region,
            "must be a region of the catalogue",
            reason="its jurisdiction is unknown, and residency is decided by it",
            next_step="correct the name, or add the region to headrace/catalog/data/regions.yaml",
        )
    return Place(
        organization=model.organization,
        environment=model.environment,
        stage=model.stage.value,
        region=model.region,
        jurisdiction=row.jurisdiction,
    )


# By provider, because each question stops the program until the engine has answered; a program's own provider objects
# name one account each. A provider that only the engine knows is asked every time.
_ACCOUNTS: WeakKeyDictionary[pulumi.ProviderResource, Account] = WeakKeyDictionary()


def account_of(opts: pulumi.ResourceOptions | None) -> Account:
    """The account that a component with these options deploys to. Asked at preview too and before the component is
    registered, so that names, policies and facts made of it are known."""
    provider = _aws_provider(opts)
    known = _ACCOUNTS.get(provider) if provider is not None else None
    if known is not None:
        return known
    caller = aws.get_caller_identity(opts=pulumi.InvokeOptions(parent=opts.parent if opts else None, provider=provider))
    account = account_from_caller(caller.account_id, caller.arn)
    if provider is not None:
        _ACCOUNTS[provider] = account
    return account


def _aws_provider(opts: pulumi.ResourceOptions | None) -> pulumi.ProviderResource | None:
    """The AWS provider among the options or the parent's, if the program made one."""
    if opts is None:
        return None
    given = opts.providers or []
    named: Iterable[pulumi.ProviderResource] = given.values() if isinstance(given, Mapping) else given
    for provider in (opts.provider, *named):
        if isinstance(provider, aws.Provider):
            return provider
    return opts.parent.get_provider("aws:index:Provider") if opts.parent is not None else None
