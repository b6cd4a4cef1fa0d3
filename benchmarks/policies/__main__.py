"""`python -m benchmarks.policies`: our pack, an empty pack and checkov on stacks of 100, 1,000 and 5,000 resources.

All three see the same mixture in the same run, in turns. checkov gets it as CloudFormation (the AWS part) and as
Kubernetes manifests; it is run from an environment of its own, because its pins don't go with ours.
"""

# ruff: noqa: E501 - the mixture is a table

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.policies import peer
from benchmarks.policies.pack import Sample, Timing, run
from headrace.settings.load import read_stack_file

ROOT = Path(__file__).resolve().parents[2]
CHECKOV_MOST_S = 120.0
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


def run_checkov(binary: Path, count: int) -> float | None:
    """Seconds of one run of checkov, start included; None where it did not finish in `CHECKOV_MOST_S`."""
    with tempfile.TemporaryDirectory() as folder:
        manifests(count, Path(folder))
        began = time.perf_counter()
        argv = [str(binary), "-d", folder, "--framework", "cloudformation", "kubernetes", "--quiet", "--compact"]
        try:
            subprocess.run(
                [*argv, "--skip-download", "--soft-fail"], capture_output=True, check=True, timeout=CHECKOV_MOST_S
            )
        except subprocess.TimeoutExpired:
            return None
        return time.perf_counter() - began


def main() -> int:
    """Runs and prints a table, with a line on each aim; an aim that is missed is reported, not hidden by an exit."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--checkov", type=Path, help="a checkov command; by default one in the cache, made if need be")
    cli.add_argument("--no-checkov", action="store_true", help="leave checkov out")
    cli.add_argument("--json", type=Path, help="write the result here")
    arguments = cli.parse_args()
    settings = read_stack_file(ROOT / "stacks" / "Pulumi.sandbox.yaml")
    other = None if arguments.no_checkov else arguments.checkov or peer.command()
    result: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        (empty / "PulumiPolicy.yaml").write_text("runtime: python\nversion: 0.0.1\n", encoding="utf-8")
        (empty / "__main__.py").write_text(_EMPTY, encoding="utf-8")
        run(ROOT / "policies", samples(1), settings)  # bytecode of both is written before anything is measured
        run(empty, samples(1), settings)
        for size in arguments.sizes:
            some = samples(size)
            pairs = [
                (run(ROOT / "policies", some, settings), run(empty, some, settings)) for _ in range(arguments.rounds)
            ]
            row = _row(size, pairs)
            if other is not None:
                row["checkovS"] = run_checkov(other, size)
            result.append(row)
            _print_row(row, first=len(result) == 1)
    aims = _aims(result)
    for aim in aims:
        print(f"{aim['aim']}: {aim['measured']} (aim met: {'yes' if aim['met'] else 'no'})")
    if arguments.json:
        document = {"machine": f"load {os.getloadavg()[0]:.1f} at the end", "rows": result, "aims": aims}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


def _row(size: int, pairs: list[tuple[Timing, Timing]]) -> dict[str, Any]:
    def middle(values: list[float]) -> float:
        return round(statistics.median(values), 3)

    def all_in_all(one: Timing) -> float:
        return (one.first + one.resources + one.stack) / size * 1000

    return {
        "resources": size,
        "startS": middle([ours.start for ours, _ in pairs]),
        "startAboveEmptyS": middle([ours.start - empty.start for ours, empty in pairs]),
        "firstResourceS": middle([ours.first for ours, _ in pairs]),
        "msPerResource": middle([all_in_all(ours) for ours, _ in pairs]),
        "msPerResourceEmpty": middle([all_in_all(empty) for _, empty in pairs]),
        "msOfProcessor": middle([ours.processor / size * 1000 for ours, _ in pairs]),
        "stackS": middle([ours.stack for ours, _ in pairs]),
        "findings": pairs[0][0].findings,
    }


def _print_row(row: dict[str, Any], *, first: bool) -> None:
    names = [
        "resources",
        "ms each",
        "of them empty",
        "CPU ms each",
        "first s",
        "start s",
        "above empty s",
        "checkov ms",
    ]
    took = row.get("checkovS")
    other = (f"> {CHECKOV_MOST_S / row['resources'] * 1000:.0f}" if took is None else f"{took / row['resources'] * 1000:.0f}") if "checkovS" in row else "-"  # fmt: skip
    keys = ("resources", "msPerResource", "msPerResourceEmpty", "msOfProcessor", "firstResourceS", "startS", "startAboveEmptyS")  # fmt: skip
    if first:
        print(" ".join(f"{name:>13}" for name in names))
    print(" ".join(f"{value:>13}" for value in (*(row[key] for key in keys), other)), flush=True)


def _aims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What we promise, what was measured, and whether it holds. Linear: a resource costs no more in a big stack."""
    each = max(row["msPerResource"] for row in rows)
    start = statistics.median(row["startAboveEmptyS"] for row in rows)
    aims = [
        {"aim": "10 ms per resource, all in all", "measured": f"{each:.1f} ms at most", "met": each <= 10},
        {"aim": "start 0.3 s above an empty pack", "measured": f"{start:.2f} s", "met": start <= 0.3},
    ]
    if len(rows) > 1:
        growth = rows[-1]["msOfProcessor"] / rows[-2]["msOfProcessor"]
        aims.append(
            {
                "aim": f"linear to {rows[-1]['resources']:,}",
                "measured": f"{growth:.2f} times the processor time per resource of {rows[-2]['resources']:,}",
                "met": growth <= 1.25,
            }
        )
    return aims


if __name__ == "__main__":
    raise SystemExit(main())
