"""A data store that others than the router can reach.

**What.** Databases and caches have no public address and stand in private subnets; the facts of `DataStores` name whom
their security groups admit, and that is the router alone.

**Why.** Budgets, keys' owners and records of prompts lie there.

**Passes.** `publiclyAccessible: false`; facts with private subnets that admit the router.

**Violates.** A public address; a public subnet; somebody else admitted.

**Undecidable when** the switch `publiclyAccessible` is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.facts import DataStoresFacts
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided

# An RDS instance without the property is public where its subnet group's VPC has an internet gateway, so it is named.
_DATABASE: Final = "aws:rds/instance:Instance"
_CLUSTER_INSTANCE: Final = "aws:rds/clusterInstance:ClusterInstance"
_OTHERS: Final = ("aws:redshift/cluster:Cluster", "aws:dms/replicationInstance:ReplicationInstance")
_TYPES: Final = (_DATABASE, _CLUSTER_INSTANCE, *_OTHERS)


def check(view: View) -> Iterator[Said]:
    """Stores by hand, then what components registered."""
    for type_ in _TYPES:
        for one in view.graph.of(type_):
            public = one.get("publiclyAccessible")
            if isinstance(public, Unknown):
                yield undecided(one.urn, public, "whether it has a public address")
            elif public is not False:
                yield Broken(
                    resource=one.urn, sentence="publiclyAccessible is not false, so it may be reached publicly"
                )
    admitted = set(view.words("admits"))
    for component, facts in view.graph.records(DataStoresFacts):
        if facts.publicly_accessible:
            yield Broken(resource=component.urn, sentence="its database has a public address")
        if not facts.subnets_private:
            yield Broken(resource=component.urn, sentence="it stands in subnets with a route to the internet")
        for stranger in sorted(set(facts.admits) - admitted):
            yield Broken(resource=component.urn, sentence=f"its security groups admit {stranger}")


RULE: Final = Rule(
    id="data-store-exposed",
    severity=Severity.CRITICAL,
    title="Data store exposed",
    description="Data stores are reached by the router only, from inside the VPC.",
    remediation="set publiclyAccessible to false, use private subnets and admit the router's security group only",
    references=("SOC 2 CC6.6", "GDPR article 32", "CIS AWS Foundations Benchmark 2.3.3"),
    reads=(*_TYPES, "dataStores"),
    since="0.1.0",
    early=(*_TYPES, "headrace:index:DataStores"),
    parameters=(Parameter(name="admits", description="Who may be admitted.", default=("router",)),),
    check=check,
)
