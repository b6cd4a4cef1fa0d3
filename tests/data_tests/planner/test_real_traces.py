"""The planner on real traces: held-out weeks, gates, and the published baselines as proof of the same evaluation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from headrace.cli.plan import plan
from headrace.planner.backtest import run_backtest
from headrace.planner.demand_file import read_demand
from headrace.planner.planning import HOURLY, Constraints, make_plan
from headrace.planner.tariff import Tariff

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("HEADRACE_DATA", ROOT.parent / "shared" / "data"))
PRICER = DATA.parent / "tools" / "plan_eval.py"
ESSAY = {"T4": (0.40, 0.000164), "A100": (2.17, 0.00104), "H100": (5.95, 0.00190)}
# Published for these six series at these prices after seven days: (geometric mean, worst).
PUBLISHED = {
    "serverless-only": (1.344, 1.60),
    "floor-plus-ten": (1.203, 1.39),
    "newsvendor": (1.197, 1.33),
    "hour-of-day": (1.142, 1.29),
    "last-hour": (1.058, 1.08),
    "follow-the-leader": (1.059, 1.08),
}

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (DATA / "demand").is_dir(),
        reason=f"the real traces are not at {DATA} (set HEADRACE_DATA to where they are)",
    ),
]


@cache
def ratios() -> dict[str, dict[str, float]]:
    """Series -> policy -> cost over the hourly lower bound."""
    found = {}
    for path in sorted((DATA / "demand").glob("*.csv.gz")):
        name = path.name.removesuffix(".csv.gz")
        dedicated, serverless = ESSAY[name.rsplit("_", 1)[1]]
        tariff = Tariff(dedicated_usd_hour=dedicated, serverless_usd_second=serverless)
        result = run_backtest(read_demand(path).demand, tariff)
        found[name] = {item.name: item.ratio or 0.0 for item in (result.chosen, *result.baselines)}
    return found


def geomean(policy: str) -> float:
    return float(np.exp(np.mean([np.log(row[policy]) for row in ratios().values()])))


@pytest.mark.parametrize("policy", PUBLISHED)
def test_the_published_baselines_come_out_the_same(policy: str) -> None:
    mean, worst = PUBLISHED[policy]
    assert geomean(policy) == pytest.approx(mean, abs=0.0015)
    assert max(row[policy] for row in ratios().values()) == pytest.approx(worst, abs=0.006)


def test_the_adaptive_policy_keeps_its_gates_on_the_six_series() -> None:
    assert geomean("adaptive") <= 1.04
    assert max(row["adaptive"] for row in ratios().values()) <= 1.06
    for name, row in ratios().items():
        assert row["adaptive"] <= row["floor-plus-ten"] * 1.005, f"{name}: never worse than floor + 10 %"


@pytest.mark.parametrize(("name", "gpu"), [("m-small_A100", "A100"), ("m-large_T4", "T4"), ("m-large_H100", "H100")])
def test_the_pricing_script_beside_the_data_agrees_to_the_cent(name: str, gpu: str, tmp_path: Path) -> None:
    if not PRICER.is_file():
        pytest.skip(f"no pricing script at {PRICER}")
    demand, out = DATA / "demand" / f"{name}.csv.gz", tmp_path / "out.csv"
    prices = ["--dedicated-usd-hour", str(ESSAY[gpu][0]), "--serverless-usd-second", str(ESSAY[gpu][1])]
    ours = CliRunner().invoke(plan, ["backtest", "--demand", str(demand), *prices, "--decisions", str(out), "--json"])
    found = json.loads(ours.stdout)
    theirs = json.loads(
        subprocess.run(
            [sys.executable, str(PRICER), str(demand), str(out), *prices], capture_output=True, text=True, check=True
        ).stdout
    )
    assert theirs["hours"] == found["hours"] == 168
    assert theirs["cost_usd"] == pytest.approx(found["costUsd"], abs=0.011)
    assert theirs["lower_bound_usd"] == pytest.approx(found["lowerBoundUsd"], abs=0.011)
    assert theirs["ratio"] == pytest.approx(found["ratio"], abs=1e-4)


def test_the_hour_of_the_azure_trace_and_the_tenant_windows_are_read_whole(tmp_path: Path) -> None:
    workload = tmp_path / "w.yaml"
    workload.write_text(
        "model: {weightsGib: 15, kvCacheKibPerToken: 128}\ngpu: A100-80GB\n"
        "dedicated: {usdPerHour: 1.79}\nserverless: {usdPerSecond: 0.00076}\n",
        encoding="utf-8",
    )
    azure = DATA / "azure-llm-2023" / "AzureLLMInferenceTrace_conv.csv.gz"
    found = json.loads(CliRunner().invoke(plan, [str(azure), "--workload", str(workload), "--json"]).stdout)
    assert (found["quality"]["rows"], found["quality"]["kept"]) == (19366, 19366)
    windows = DATA / "servegen" / "tenant_windows.csv.gz"
    arguments = [str(windows), "--workload", str(workload), "--only", "model=m-small", "--json"]
    found = json.loads(CliRunner().invoke(plan, arguments).stdout)
    assert found["quality"]["gapWindows"] == 37, "the pool's telemetry gaps, found and filled"
    assert found["pooling"]["tenant"]["groups"] == 43
    assert found["pooling"]["tenant"]["saved"] > 0.3


@pytest.mark.parametrize(
    ("name", "without", "with_hourly"), [("m-large_H100", 64_476, 61_564), ("m-small_H100", 82_082, 81_074)]
)
def test_an_hourly_floor_saves_what_its_page_says(name: str, without: int, with_hourly: int) -> None:
    """docs/planner/hourly.md: USD a month, starts of nodes paid."""
    demand = read_demand(DATA / "demand" / f"{name}.csv.gz").demand
    price = ESSAY[name.rsplit("_", 1)[1]]
    planned = make_plan(
        demand, Tariff(dedicated_usd_hour=price[0], serverless_usd_second=price[1]), Constraints(hourly=True)
    )
    assert planned.hourly
    assert planned.usd_per_month == pytest.approx(with_hourly, rel=0.001)
    schedules = [item.usd_per_month for item in planned.candidates if item.name != HOURLY]
    assert 0.999 <= without / min(schedules) <= 1.006, "the simplest within half a percent of the cheapest"
