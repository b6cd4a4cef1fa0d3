"""`python -m benchmarks.policies`: our pack, an empty pack and checkov on stacks of 100, 1,000 and 5,000 resources.

All three see the same mixture in the same run, in turns. checkov gets it as CloudFormation (the AWS part) and as
Kubernetes manifests; it is run from its own environment (`--checkov PATH`), because its pins don't go with ours.
"""

# ruff: noqa: E501 - the mixture is a table

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.policies.pack import Sample, Timing, run
from headrace.settings.load import read_stack_file

ROOT = Path(__file__).resolve().parents[2]
_TAGS = {"headrace:organization": "acme", "headrace:environment": "bench", "headrace:component": "bench"}
_EMPTY = """if __name__ == "__main__":
    from pulumi_policy import PolicyPack, StackValidationPolicy
    PolicyPack(name="empty", policies=[StackValidationPolicy("none", "Nothing.", lambda args, report: None)])
"""
_BUCKET = "AWS::S3::Bucket"
_POD = {"containers": [{"name": "a", "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/x@sha256:" + "a" * 64}]}
_SPEC = {
    "replicas": 1,
    "selector": {"matchLabels": {"a": "b"}},
    "template": {"metadata": {"labels": {"a": "b"}}, "spec": _POD},
}
# type token, its properties, CloudFormation type and properties (or None: a Kubernetes manifest)
MIXTURE: list[tuple[str, dict[str, Any], str | None, dict[str, Any]]] = [
    ("aws:kms/key:Key", {"enableKeyRotation": True, "tags": _TAGS}, "AWS::KMS::Key", {"EnableKeyRotation": True, "KeyPolicy": {}}),
    ("aws:s3/bucket:Bucket", {"bucket": "b", "tags": _TAGS}, _BUCKET, {"BucketName": "b"}),
    ("aws:ebs/volume:Volume", {"encrypted": True, "size": 9, "tags": _TAGS}, "AWS::EC2::Volume", {"Encrypted": True, "Size": 9}),
    ("aws:ec2/securityGroup:SecurityGroup", {"description": "x", "tags": _TAGS}, "AWS::EC2::SecurityGroup", {"GroupDescription": "x"}),
    ("kubernetes:apps/v1:Deployment", {"metadata": {"namespace": "gpu-system"}, "spec": _SPEC}, None, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": _SPEC}),
    ("kubernetes:core/v1:ConfigMap", {"metadata": {"namespace": "a"}, "data": {"k": "v" * 200}}, None, {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v" * 200}}),
    ("kubernetes:core/v1:Service", {"metadata": {"namespace": "a"}, "spec": {"ports": [{"port": 80}]}}, None, {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}),
]  # fmt: skip


def samples(count: int) -> list[Sample]:
    """`count` resources of the mixture."""
    return [
        Sample(type=type_, name=f"r{index}", props=props)
        for index, (type_, props, _, _) in enumerate(islice(cycle(MIXTURE), count))
    ]


def manifests(count: int, folder: Path) -> None:
    """The same as files for checkov."""
    stack: dict[str, Any] = {}
    objects = []
    for index, (_, _, kind, props) in enumerate(islice(cycle(MIXTURE), count)):
        if kind is None:
            objects.append({**props, "metadata": {"name": f"r{index}", "namespace": "a"}})
        else:
            stack[f"R{index}"] = {"Type": kind, "Properties": props}
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": stack}
    (folder / "template.json").write_text(json.dumps(template, indent=1), encoding="utf-8")
    text = "\n---\n".join(json.dumps(one) for one in objects)
    (folder / "objects.yaml").write_text(text, encoding="utf-8")


def checkov(binary: Path, count: int) -> float:
    """Seconds of one run of checkov, start included."""
    with tempfile.TemporaryDirectory() as folder:
        manifests(count, Path(folder))
        began = time.perf_counter()
        argv = [str(binary), "-d", folder, "--framework", "cloudformation", "kubernetes", "--quiet", "--compact"]
        subprocess.run([*argv, "--skip-download", "--soft-fail"], capture_output=True, check=True)
        return time.perf_counter() - began


def main() -> int:
    """Runs and prints; exit 1 where the time per resource or the start is above what we promise."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--checkov", type=Path, help="the checkov command of an environment of its own")
    cli.add_argument("--json", type=Path, help="write the result here")
    arguments = cli.parse_args()
    settings = read_stack_file(ROOT / "stacks" / "Pulumi.sandbox.yaml")
    result: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        (empty / "PulumiPolicy.yaml").write_text("runtime: python\nversion: 0.0.1\n", encoding="utf-8")
        (empty / "__main__.py").write_text(_EMPTY, encoding="utf-8")
        for size in arguments.sizes:
            some = samples(size)
            pairs = [
                (run(ROOT / "policies", some, settings), run(empty, some, settings)) for _ in range(arguments.rounds)
            ]
            row = _row(size, pairs)
            if arguments.checkov:
                row["checkovMsPerResource"] = round(checkov(arguments.checkov, size) / size * 1000, 2)
            result.append(row)
            print(json.dumps(row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["msPerResource"] <= 10 and row["startAboveEmptyS"] <= 0.3 for row in result) else 1


def _row(size: int, pairs: list[tuple[Timing, Timing]]) -> dict[str, Any]:
    def middle(values: list[float]) -> float:
        return round(statistics.median(values), 3)

    return {
        "resources": size,
        "startS": middle([ours.start for ours, _ in pairs]),
        "startAboveEmptyS": middle([ours.start - empty.start for ours, empty in pairs]),
        "firstResourceS": middle([ours.first for ours, _ in pairs]),
        "msPerResource": middle([(ours.resources + ours.stack) / size * 1000 for ours, _ in pairs]),
        "msPerResourceEmpty": middle([(empty.resources + empty.stack) / size * 1000 for _, empty in pairs]),
        "stackS": middle([ours.stack for ours, _ in pairs]),
        "findings": pairs[0][0].findings,
    }


if __name__ == "__main__":
    raise SystemExit(main())
