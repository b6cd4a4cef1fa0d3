"""A data store whose loss is the loss of records.

**What.** In the stages of `stages`, databases have a standby in another zone, caches fail over to a replica in another
zone, databases refuse to be deleted and keep backups for `backupDays` or longer.

**Why.** The router's budgets and records lie there. A zone that goes down, or one wrong command, would take them along.

**Passes.** `multiAz`, `deletionProtection` and a backup retention for databases; `multiAzEnabled` and
`automaticFailoverEnabled` for replication groups; two zones in the facts of `DataStores`.

**Violates.** One of them off, absent or below.

**Undecidable when** one of them is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from headrace.rules.facts import DataStoresFacts
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided

_DATABASE: Final = "aws:rds/instance:Instance"
_CLUSTER: Final = "aws:rds/cluster:Cluster"
_CACHE: Final = "aws:elasticache/replicationGroup:ReplicationGroup"
# type -> switches that must be on; a cluster spreads by itself over the zones that it names
_SWITCHES: Final = {
    _DATABASE: ("multiAz", "deletionProtection"),
    _CLUSTER: ("deletionProtection",),
    _CACHE: ("multiAzEnabled", "automaticFailoverEnabled"),
}
_STORES: Final = "headrace:index:DataStores"


def check(view: View) -> Iterator[Said]:
    """What components registered, then stores by hand."""
    for component, facts in view.graph.records(DataStoresFacts):
        if facts.stage in view.words("stages"):
            yield from _facts(component, facts, view.number("backupDays"))
    if view.settings is not None and view.settings.stage.value not in view.words("stages"):
        return
    for type_, switches in _SWITCHES.items():
        for one in view.graph.of(type_):
            if one.get("replicateSourceDb") is None:  # a read replica is nobody's only copy
                for name in switches:
                    yield from _on(one, name)
                if type_ != _CACHE:
                    yield from _kept(one, view.number("backupDays"))


def _on(one: Resource, name: str) -> Iterator[Said]:
    value = one.get(name)
    if isinstance(value, Unknown):
        yield undecided(one.urn, value, "whether it survives a zone or a wrong command")
    elif value is not True:
        yield Broken(resource=one.urn, sentence=f"{name} is off")


def _kept(one: Resource, least: float) -> Iterator[Said]:
    days: Any = one.get("backupRetentionPeriod")
    if isinstance(days, Unknown):
        yield undecided(one.urn, days, "how long its backups are kept")
    elif not isinstance(days, int | float) or days < least:
        yield Broken(resource=one.urn, sentence=f"backupRetentionPeriod is {days}, {least:g} days are needed")


def _facts(component: Resource, facts: DataStoresFacts, least: float) -> Iterator[Said]:
    wanted = {
        "its cache has a replica in another zone": facts.cache_multi_zone and facts.cache_nodes >= 2,
        "its database has a standby in another zone": facts.database_multi_zone,
        "its database refuses to be deleted": facts.database_deletion_protection,
        f"its backups are kept {least:g} days": facts.database_backup_retention_days >= least,
        "it has two zones": len(facts.zones) >= 2,
    }
    for what, holds in wanted.items():
        if not holds:
            yield Broken(resource=component.urn, sentence=f"it does not hold that {what}")


RULE: Final = Rule(
    id="data-store-can-be-lost",
    severity=Severity.HIGH,
    title="Data store can be lost",
    description="Data stores survive a zone and a wrong command.",
    remediation="set dataStores.cache.nodes to two, dataStores.database.multiZone and deletionProtection to true; by "
    "hand set the property",
    references=("SOC 2 A1.2", "EU AI Act article 19 (from 2 December 2027 for Annex III)"),
    reads=(_DATABASE, _CLUSTER, _CACHE, "dataStores", "settings"),
    since="0.1.0",
    early=(_DATABASE, _CLUSTER, _CACHE, _STORES),
    parameters=(
        Parameter(name="stages", description="Stages in which it counts.", default=("production",)),
        Parameter(name="backupDays", description="Least days of backups.", default=7, minimum=1, maximum=35),
    ),
    check=check,
)
