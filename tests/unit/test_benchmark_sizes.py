"""The stacks that the benchmark of the platform deploys."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.platform import sizes
from headrace.settings.load import load, our_keys

ROOT = Path(__file__).resolve().parents[2]


def test_the_large_stack_is_valid_and_as_large_as_it_says() -> None:
    loaded = YAML(typ="safe").load((ROOT / "stacks" / "Pulumi.sandbox.yaml").read_text(encoding="utf-8"))
    settings = load(our_keys(sizes.large(loaded["config"])))
    assert (len(settings.dedicated_pools), len(settings.tenants)) == (sizes.POOLS, sizes.TENANTS)
    assert {pool.workload for pool in settings.dedicated_pools.values()} == set(settings.workloads)
