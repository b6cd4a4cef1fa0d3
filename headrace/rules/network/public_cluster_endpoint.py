"""A Kubernetes API that the internet can reach.

**What.** The EKS cluster has its private endpoint on and its public endpoint off.

**Why.** The API is the whole cluster; one leaked token is enough where it can be reached from anywhere.

**Passes.** `endpointPrivateAccess: true`, `endpointPublicAccess: false`.

**Violates.** `endpointPublicAccess` left out (AWS's default is on) or true, also with a list of ranges; private
access off.

**Undecidable when** one of the two is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_CLUSTER: Final = "aws:eks/cluster:Cluster"


def check(view: View) -> Iterator[Said]:
    """Every cluster."""
    for cluster in view.graph.of(_CLUSTER):
        public = cluster.at("vpcConfig.endpointPublicAccess")
        private = cluster.at("vpcConfig.endpointPrivateAccess")
        if isinstance(public, Unknown):
            yield undecided(cluster.urn, public, "whether its API is public")
        elif public is not False:
            yield Broken(
                resource=cluster.urn, sentence="vpcConfig.endpointPublicAccess is on, so anybody can reach its API"
            )
        if isinstance(private, Unknown):
            yield undecided(cluster.urn, private, "whether its API is private")
        elif private is not True:
            yield Broken(
                resource=cluster.urn, sentence="vpcConfig.endpointPrivateAccess is off, so nodes leave the VPC"
            )


RULE: Final = Rule(
    id="public-cluster-endpoint",
    severity=Severity.CRITICAL,
    title="Public cluster endpoint",
    description="The Kubernetes API is reached inside the VPC only.",
    remediation="set vpcConfig to {endpointPublicAccess: false, endpointPrivateAccess: true}; in settings leave "
    "cluster.publicAccessCidrs empty",
    references=("CIS Amazon EKS Benchmark 5.4.2", "SOC 2 CC6.6"),
    reads=(_CLUSTER,),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
