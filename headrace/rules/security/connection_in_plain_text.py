"""A connection that anybody on the way can read.

**What.** Caches and databases are spoken to over TLS and ask who it is; no load balancer takes HTTP without redirecting
it; in the stages of `stages` the router's load balancer has a certificate.

**Why.** Prompts, answers, budgets and keys travel there.

**Passes.** `transitEncryptionEnabled` with an auth token or user groups; a parameter group with `rds.force_ssl` 1;
listeners with TLS or a redirect.

**Violates.** One of them off or absent.

**Undecidable when** a switch is not known. A token that is not known yet counts as set: it is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from headrace.rules.facts import DataStoresFacts, RouterFacts
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided

_CACHE: Final = "aws:elasticache/replicationGroup:ReplicationGroup"
_PARAMETERS: Final = "aws:rds/parameterGroup:ParameterGroup"
_LISTENER: Final = "aws:lb/listener:Listener"
_FORCE: Final = "rds.force_ssl"


def check(view: View) -> Iterator[Said]:
    """Caches, databases' parameters and listeners by hand, then what components registered."""
    for cache in view.graph.of(_CACHE):
        yield from _cache(cache)
    for group in view.graph.of(_PARAMETERS):
        yield from _forced(group)
    for listener in view.graph.of(_LISTENER):
        yield from _listener(listener)
    for component, facts in view.graph.records(DataStoresFacts):
        wanted = {
            "its cache speaks TLS": facts.cache_encrypted_in_transit,
            "its cache asks for a password": facts.cache_authenticated,
            "its database takes TLS connections only": facts.database_tls_required,
            "its database's password is managed": facts.database_password_managed,
            "its credentials lie in Secrets Manager": facts.credentials_in_secrets_manager,
        }
        for what, holds in wanted.items():
            if not holds:
                yield Broken(resource=component.urn, sentence=f"it does not hold that {what}")
    for component, router in view.graph.records(RouterFacts):
        if router.stage in view.words("stages") and not router.load_balancer_tls:
            yield Broken(
                resource=component.urn,
                sentence="its load balancer takes plain HTTP",
                remediation="set router.certificateArn to a certificate of ACM",
            )


def _cache(one: Resource) -> Iterator[Said]:
    encrypted = one.get("transitEncryptionEnabled")
    if isinstance(encrypted, Unknown):
        yield undecided(one.urn, encrypted, "whether it speaks TLS")
    elif encrypted is not True:
        yield Broken(resource=one.urn, sentence="transitEncryptionEnabled is off, so it is spoken to in plain text")
    if not one.get("authToken") and not one.get("userGroupIds"):
        yield Broken(
            resource=one.urn, sentence="neither authToken nor userGroupIds is set, so it asks nobody who it is"
        )


def _forced(group: Resource) -> Iterator[Said]:
    family = group.get("family")
    if not isinstance(family, str) or not family.startswith("postgres"):
        return
    for path, entry in group.items("parameters"):
        if isinstance(entry, Unknown):
            yield undecided(group.urn, entry, "whether TLS is required")
            return
        if isinstance(entry, Mapping) and entry.get("name") == _FORCE:
            value = entry.get("value")
            if isinstance(value, Unknown):
                yield undecided(group.urn, value, "whether TLS is required")
            elif str(value).removesuffix(".0") != "1":
                yield Broken(
                    resource=group.urn, sentence=f"{path}: {_FORCE} is {value}, so plain connections are taken"
                )


def _listener(one: Resource) -> Iterator[Said]:
    protocol = one.get("protocol")
    if isinstance(protocol, Unknown):
        yield undecided(one.urn, protocol, "whether it takes TLS")
    elif protocol == "HTTP":
        kinds = [entry.get("type") if isinstance(entry, Mapping) else entry for _, entry in one.items("defaultActions")]
        if not kinds or any(kind != "redirect" and not isinstance(kind, Unknown) for kind in kinds):
            yield Broken(resource=one.urn, sentence="it takes HTTP and does not redirect to HTTPS")


RULE: Final = Rule(
    id="connection-in-plain-text",
    severity=Severity.HIGH,
    title="Connection in plain text",
    description="Data stores and load balancers are spoken to over TLS.",
    remediation="switch TLS on; use DataStores and Router, which do",
    references=("GDPR article 32", "SOC 2 CC6.7"),
    reads=(_CACHE, _PARAMETERS, _LISTENER, "dataStores", "router"),
    since="0.1.0",
    early=(_CACHE, _PARAMETERS, _LISTENER, "headrace:index:DataStores", "headrace:index:Router"),
    parameters=(
        Parameter(
            name="stages", description="Stages in which the router needs a certificate.", default=("production",)
        ),
    ),
    check=check,
)
