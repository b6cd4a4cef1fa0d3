"""A release that is known to carry malicious code.

**What.** No image, Helm chart or model release names a package version from the catalogue's table of compromised ones.

**Why.** Such versions steal credentials at import. They were withdrawn, but mirrors and caches keep them.

**Passes.** Other versions.

**Violates.** An image or chart with `litellm` and `1.82.7` in its name, tag or environment.

**Undecidable when** nothing: an unknown image is the business of `image-without-digest`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, Scope, View

if TYPE_CHECKING:
    from headrace.catalog.schema import CompromisedRelease

_PREFIXES: Final = ("kubernetes:", "headrace:", "aws:lambda/", "aws:ecs/", "aws:ecr/")


@cache
def _patterns() -> tuple[re.Pattern[str], tuple[tuple[CompromisedRelease, re.Pattern[str]], ...]]:
    """What any text of interest holds, and one pattern per release."""
    from headrace.catalog import load

    rows = tuple(
        (row, re.compile(rf"{re.escape(row.package)}\b.*(?<![\d.]){re.escape(version)}(?![\d.]*\d)", re.I | re.S))
        for row in load.compromised_releases().values()
        for version in row.versions
    )
    return re.compile("|".join(sorted({re.escape(row.package) for row, _ in rows})), re.I), rows


def check(view: View) -> Iterator[Said]:
    """Every text of a resource that runs code."""
    packages, rows = _patterns()
    for resource in view.graph.resources:
        if not resource.type.startswith(_PREFIXES) or not packages.search(resource.all_text):
            continue
        for path, text in resource.texts:
            for row, pattern in rows:
                if pattern.search(text):
                    yield Broken(
                        resource=resource.urn, sentence=f"{path} names {row.name}, a compromised release ({row.reason})"
                    )


RULE: Final = Rule(
    id="compromised-release",
    severity=Severity.CRITICAL,
    title="Compromised release",
    description="Nothing runs a release that is known to carry malicious code.",
    remediation="use a version from after the incident and rotate every credential that the old one could read",
    references=("SOC 2 CC7.1",),
    reads=("*",),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
