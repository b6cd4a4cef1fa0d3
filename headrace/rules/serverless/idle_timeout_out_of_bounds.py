"""An idle policy that wastes money or warmth.

**What.** The idle timeout of every serverless pool and endpoint is within the environment's bounds.

**Why.** Idle seconds are billed. Too many of them are the idle tax again, too few restart the model between two
requests.

**Passes.** Within `minimumSeconds` and `maximumSeconds`.

**Violates.** Outside.

**Undecidable when** it is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from headrace.rules import serverless_pools
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided

_WHERE: Final = {serverless_pools.ENDPOINT: "workers.idleTimeout", serverless_pools.APP: "scaledownWindow"}


def check(view: View) -> Iterator[Said]:
    """Pools of the settings, then endpoints and apps by hand."""
    for pool in serverless_pools.pools(view):
        yield from _bounds(view, pool.where, "idleTimeoutS", pool.idle_timeout_s)
    for type_, path in _WHERE.items():
        for one in serverless_pools.by_hand(view, type_):
            value = one.at(path)
            if isinstance(value, Unknown):
                yield undecided(one.urn, value, "how long it idles")
            elif value is not None:
                yield from _bounds(view, one.urn, path, value)


def _bounds(view: View, where: str, path: str, seconds: Any) -> Iterator[Said]:
    least, most = view.number("minimumSeconds"), view.number("maximumSeconds")
    if not least <= seconds <= most:
        yield Broken(resource=where, sentence=f"{path} is {seconds:g} s, outside of {least:g} to {most:g} s")


RULE: Final = Rule(
    id="idle-timeout-out-of-bounds",
    severity=Severity.MEDIUM,
    title="Idle timeout out of bounds",
    description="Serverless instances idle neither too long nor too short.",
    remediation="choose a timeout near the gap between requests at which a cold start costs as much as idling",
    references=("SOC 2 A1.1",),
    reads=("settings", *_WHERE),
    since="0.1.0",
    early=("headrace:index:HybridPlatform", *_WHERE),
    parameters=(
        Parameter(name="minimumSeconds", description="Least idle seconds.", default=5, minimum=1, maximum=3600),
        Parameter(name="maximumSeconds", description="Most idle seconds.", default=900, minimum=1, maximum=3600),
    ),
    check=check,
)
