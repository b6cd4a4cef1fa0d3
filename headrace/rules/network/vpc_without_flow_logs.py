"""A VPC whose traffic nobody records.

**What.** Every VPC of the stack has a flow log of all traffic.

**Why.** Without it nobody can tell afterwards what left the network.

**Passes.** A `FlowLog` of the VPC with `trafficType` ALL.

**Violates.** No flow log, or one of accepted or rejected traffic only.

**Undecidable when** a flow log's VPC is not known and it depends on no VPC of the stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Rule, Said, Undecided, View

_VPC: Final = "aws:ec2/vpc:Vpc"
_FLOW_LOG: Final = "aws:ec2/flowLog:FlowLog"


def check(view: View) -> Iterator[Said]:
    """Every VPC against every flow log."""
    loose = [
        log
        for log in view.graph.of(_FLOW_LOG)
        if isinstance(log.get("vpcId"), Unknown) and not view.graph.sources(log, "vpcId", _VPC)
    ]
    for vpc in view.graph.of(_VPC):
        logs = view.graph.referring(_FLOW_LOG, "vpcId", vpc)
        if any(log.get("trafficType") == "ALL" for log in logs):
            continue
        if logs:
            kinds = ", ".join(str(log.get("trafficType")) for log in logs)
            yield Broken(resource=vpc.urn, sentence=f"its flow log records {kinds} traffic only")
        elif loose:
            yield Undecided(resource=vpc.urn, what="whether it has a flow log", value=f"vpcId of {loose[0].name}")
        else:
            yield Broken(resource=vpc.urn, sentence="it has no flow log")


RULE: Final = Rule(
    id="vpc-without-flow-logs",
    severity=Severity.MEDIUM,
    title="VPC without flow logs",
    description="Every VPC records all its traffic.",
    remediation="add an aws.ec2.FlowLog with traffic_type ALL, or use PrivateNetwork",
    references=("CIS AWS Foundations Benchmark 3.7", "SOC 2 CC7.2"),
    reads=(_VPC, _FLOW_LOG),
    since="0.1.0",
    check=check,
)
