"""Pools of one workload that run different releases.

**What.** All pools of a workload run the same release: artifact digest, image digest, quantization, serving
arguments.

**Why.** Users would get another model, or other answers, depending on how busy the floor is.

**Passes.** Equal releases in every dedicated pool of a workload, and endpoints by hand (`headrace.dev/workload` in
their environment) with the release's image; pools that name as their `release` a canary of `router.canaryPercent`,
equal among each other: the router keeps a conversation on its release.

**Violates.** Another digest, another serving argument.

**Undecidable when** nothing: facts are plain values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from headrace.rules import serverless_pools
from headrace.rules.facts import DedicatedPoolFacts, ReleaseFacts
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, View

if TYPE_CHECKING:
    from headrace.settings.releases import ModelRelease

# What changes results; the rest of a release is about where it fits.
_SAME: Final = ("artifact_digest", "image", "quantization", "serving_args", "max_context_tokens")


def check(view: View) -> Iterator[Said]:
    """Every pool against the first of its workload, and against what settings say the workload runs."""
    pools: list[tuple[str, str, str, ReleaseFacts | ModelRelease]] = [
        (one.urn, facts.name, facts.workload.name, facts.release)
        for one, facts in view.graph.records(DedicatedPoolFacts)
    ]
    pools += [(one.where, one.name, one.workload, one.release) for one in serverless_pools.pools(view)]
    names = {one.urn: facts.release.name for one, facts in view.graph.records(DedicatedPoolFacts)}
    names |= {one.where: one.release_name for one in serverless_pools.pools(view)}
    canaries = view.settings.router.canary_percent if view.settings else {}
    first: dict[tuple[str, str], tuple[str, ReleaseFacts | ModelRelease]] = {}
    for where, name, workload, release in pools:
        canary = names[where] if names[where] in canaries.get(workload, {}) else ""
        other_name, other = first.setdefault((workload, canary), (name, release))
        different = [field for field in _SAME if _value(release, field) != _value(other, field)]
        if different:
            yield Broken(
                resource=where,
                sentence=f"it runs another release of {workload} than {other_name}: {', '.join(different)} differ",
            )
        declared = view.settings.workloads.get(workload) if view.settings else None
        if declared is not None and not canary and declared.release != names[where]:
            yield Broken(
                resource=where,
                sentence=f"it runs {names[where] or 'a nameless release'}, but {workload} runs {declared.release} "
                "elsewhere",
            )


def _value(release: ReleaseFacts | ModelRelease, field: str) -> Any:
    value = getattr(release, field)
    return tuple(value) if isinstance(value, list) else value


RULE: Final = Rule(
    id="release-differs-between-pools",
    severity=Severity.HIGH,
    title="Release differs between pools",
    description="All pools of a workload run the same release with the same serving arguments.",
    remediation="run the workload's release in every pool; to try another one, give it a share in router.canaryPercent",
    references=("SOC 2 CC8.1", "EU AI Act article 12 (from 2 December 2027 for Annex III)"),
    reads=("dedicatedPool", "serverlessPool", "settings"),
    since="0.1.0",
    early=("headrace:index:DedicatedPool", "headrace:index:ServerlessEndpoint"),
    check=check,
)
