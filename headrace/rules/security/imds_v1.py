"""A machine that answers metadata requests without a session token.

**What.** Launch templates and instances require IMDSv2 (`metadataOptions.httpTokens: required`), one hop at most.

**Why.** With version 1 a single forged request from a pod or a proxy reads the node's credentials.

**Passes.** `httpTokens: required` with a hop limit within the parameter, or the metadata endpoint off.

**Violates.** No `metadataOptions` (AWS's default lets version 1 in), `optional`, a larger hop limit.

**Undecidable when** one of the values is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, Scope, View, undecided

_TYPES: Final = (
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:ec2/instance:Instance",
    "aws:ec2/launchConfiguration:LaunchConfiguration",
)


def check(view: View) -> Iterator[Said]:
    """Every template and every machine."""
    limit = view.number("maxHops")
    for type_ in _TYPES:
        for one in view.graph.of(type_):
            tokens = one.at("metadataOptions.httpTokens")
            hops = one.at("metadataOptions.httpPutResponseHopLimit")
            endpoint = one.at("metadataOptions.httpEndpoint")
            if endpoint == "disabled":
                continue
            if isinstance(tokens, Unknown):
                yield undecided(one.urn, tokens, "whether it requires IMDSv2")
            elif tokens != "required":
                yield Broken(resource=one.urn, sentence=f"metadataOptions.httpTokens is {tokens!r}, so IMDSv1 answers")
            if isinstance(hops, Unknown):
                yield undecided(one.urn, hops, "how many hops its metadata may take")
            elif hops is not None and hops > limit:
                yield Broken(
                    resource=one.urn,
                    sentence=f"httpPutResponseHopLimit is {hops:g}, so pods reach the node's credentials",
                )


RULE: Final = Rule(
    id="imds-v1",
    severity=Severity.HIGH,
    title="IMDSv1",
    description="Machines answer metadata requests only with a session token and within one hop.",
    remediation='set metadataOptions to {httpTokens: "required", httpPutResponseHopLimit: 1}',
    references=("CIS AWS Foundations Benchmark 5.6", "SOC 2 CC6.1"),
    reads=_TYPES,
    since="0.1.0",
    scope=Scope.RESOURCE,
    parameters=(Parameter(name="maxHops", description="Largest hop limit.", default=1, minimum=1, maximum=64),),
    check=check,
)
