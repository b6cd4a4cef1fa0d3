"""The commands as a user runs them: answers, files they write, refusals."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from headrace.cli import plan_answer
from headrace.cli.plan import plan
from headrace.errors import Refused
from headrace.planner.answer import Answer, answer
from headrace.planner.levels import Demand
from headrace.planner.sample import WORKLOAD, write_sample
from headrace.planner.stack_config import Sizing, merge, schedule_entries
from headrace.planner.windows import saved
from headrace.planner.year import year
from headrace.settings.load import from_stack_file
from tests.unit.planner.conftest import ON_L4

from .conftest import daily_demand

ROOT = Path(__file__).parents[3]


def run(*arguments: object, ok: bool = True) -> Result:
    result = CliRunner().invoke(plan, [str(argument) for argument in arguments])
    if ok and result.exception is not None:
        raise result.exception
    return result


def ask(sample: tuple[Path, Path]) -> Answer:
    """The answer that the commands print, the shared one where a command was asked before."""
    known: Answer = vars(plan_answer)["answer"](
        str(sample[0]), sample[1], day=date(2026, 11, 21), prices=None, only={}, demand_factor=1.0
    )
    return known


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A generated trace of nine days and its workload."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder / "t.csv", days=9, requests_per_day=6000, seed=3)
    (folder / "w.yaml").write_text(WORKLOAD, encoding="utf-8")
    return folder / "t.csv", folder / "w.yaml"


@pytest.fixture(scope="module", autouse=True)
def _one_answer_for_the_same_question() -> Iterator[None]:
    """Commands that are asked about the same traffic, workload and day share one computation."""
    known: dict[str, Answer] = {}

    def once(traffic: str, workload: Path, **options: Any) -> Answer:
        question = repr((traffic, workload.read_bytes(), sorted(options.items())))
        if question not in known:
            known[question] = answer(traffic, workload, **options)
        return known[question]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_answer, "answer", once)
        yield


@pytest.fixture
def demand_file(tmp_path: Path) -> Path:
    path = tmp_path / "demand.csv"
    saved(path, daily_demand(days=9))
    return path


def priced(demand: Demand, decisions: dict[int, int], dedicated: float, serverless: float) -> tuple[float, float]:
    """Cost and bound of decisions, written out as the documentation states it: level by level, bin by bin."""
    need = np.ceil(demand.gpus - 1e-9).clip(0).astype(int)
    cost = bound = 0.0
    warm = np.array([need[max(0, at - 6) : at + 1].max() for at in range(len(need))])
    for hour, held in decisions.items():
        bins = range(hour * 360, hour * 360 + 360)
        cost += held * dedicated
        for level in range(1, int(warm.max()) + 1):
            billed = 10.0 * sum(warm[at] >= level for at in bins)
            starts = sum(warm[at] >= level and (at == 0 or warm[at - 1] < level) for at in bins)
            level_cost = serverless * (billed + 30 * starts)
            cost += level_cost if level > held else 0.0
            bound += min(level_cost, dedicated)
    return cost, bound


def test_backtest_writes_each_hour_after_the_training_and_agrees_with_a_price_by_hand(
    demand_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    arguments = ("backtest", "--demand", demand_file, "--dedicated-usd-hour", 2.17, "--serverless-usd-second", 0.00104)
    found = json.loads(run(*arguments, "--decisions", out, "--json").stdout)
    rows = list(csv.reader(out.open()))
    assert rows[0] == ["hour_start_s", "dedicated"]
    assert [int(row[0]) for row in rows[1:]] == [hour * 3600 for hour in range(168, 216)]
    decisions = {int(row[0]) // 3600: int(row[1]) for row in rows[1:]}
    read = daily_demand(days=9)
    cost, bound = priced(Demand(origin_s=0, gpus=read.gpus.round(4)), decisions, 2.17, 0.00104)
    assert found["costUsd"] == pytest.approx(cost, abs=0.006)
    assert found["lowerBoundUsd"] == pytest.approx(bound, abs=0.006)
    assert found["ratio"] == pytest.approx(cost / bound, abs=1e-4)
    assert {"serverless-only", "floor-plus-ten", "newsvendor", "hour-of-day", "last-hour"} <= found["baselines"].keys()


def test_backtest_prints_bound_baselines_and_regret(demand_file: Path) -> None:
    arguments = ("backtest", "--demand", demand_file, "--dedicated-usd-hour", 6.88, "--serverless-usd-second", 0.00116)
    text = run(*arguments, "--train-days", 8).stdout
    assert "24 hours decided after 192 hours of history" in text
    assert "(never)" in text
    assert "lower bound (clairvoyant, hourly)" in text
    assert "Regret" in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--dedicated-usd-hour", "0"), "--dedicated-usd-hour is 0.0: must be a positive price"),
        (("--serverless-usd-second", "3.7"), "a price per hour was probably given"),
        (("--idle-timeout-s", "-5"), "--idle-timeout-s is -5.0: must be zero or more seconds"),
        (("--train-days", "40"), "leaves no hour to decide"),
        (("--demand", "nowhere.csv"), "no such file"),
        (("--decisions", "/nowhere/x.csv"), "can't be written"),
    ],
)
def test_backtest_refuses_bad_input_in_one_sentence(change: tuple[str, str], sentence: str, demand_file: Path) -> None:
    base = {"--demand": str(demand_file), "--dedicated-usd-hour": "2", "--serverless-usd-second": "0.001"}
    base[change[0]] = change[1]
    result = run("backtest", *(part for pair in base.items() for part in pair), ok=False)
    assert isinstance(result.exception, Refused)
    assert sentence in str(result.exception)


def test_a_column_of_another_name_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("time,gpus\n0,1\n", encoding="utf-8")
    result = run("backtest", "--demand", path, "--dedicated-usd-hour", 2, "--serverless-usd-second", 0.001, ok=False)
    assert "lacks the column start_s, because it has time, gpus" in str(result.exception)


def test_a_plan_tells_verdict_bound_regret_sensitivity_and_assumptions(sample: tuple[Path, Path]) -> None:
    found = json.loads(run(sample[0], "--workload", sample[1], "--on", "2026-11-21", "--json").stdout)
    assert found["regretUsdPerMonth"] == pytest.approx(
        found["plan"]["usdPerMonth"] - found["lowerBoundUsdPerMonth"], abs=0.02
    )
    assert found["lowerBoundUsdPerMonth"] <= min(row["usdPerMonth"] for row in found["candidates"])
    assert {row["demand"] for row in found["sensitivity"]} == {0.7, 1.0, 1.3}
    assert all(row["source"] for row in found["assumptions"])
    assert found["pooling"]["tenant"]["groups"] == 3
    assert found["stalePrices"] == []
    text = run(sample[0], "--workload", sample[1], "--on", "2027-06-01").output
    assert "warning: price runpod A100-80GB flex was checked 192 days ago" in text


@pytest.fixture(scope="module")
def on_l4(sample: tuple[Path, Path]) -> tuple[Path, Path]:
    """The trace, and a workload on the GPU of the stacks' chat pools."""
    workload = sample[1].with_name("l4.yaml")
    workload.write_text(ON_L4, encoding="utf-8")
    return sample[0], workload


def test_write_changes_only_the_planned_keys_and_keeps_comments(on_l4: tuple[Path, Path], tmp_path: Path) -> None:
    stack = tmp_path / "Pulumi.prod-eu.yaml"
    shutil.copy(ROOT / "stacks" / "Pulumi.prod-eu.yaml", stack)
    before = stack.read_text(encoding="utf-8")
    settings = from_stack_file(stack)
    arguments = (on_l4[0], "--workload", on_l4[1], "--on", "2026-11-21", "--demand-factor", 60, "--write", stack)
    found = json.loads(run(*arguments, "--json").stdout)
    after = stack.read_text(encoding="utf-8")
    planned = from_stack_file(stack).dedicated_pools["chat-floor"]
    gpus = found["plan"]["scheduleGpus"]
    assert planned.floor_nodes == -(-min(gpus) // 8), "a g6.48xlarge has eight GPUs"
    assert max(entry.floor_nodes for entry in planned.schedules) == -(-max(gpus) // 8) > planned.floor_nodes
    assert all(entry.name.startswith("plan-") for entry in planned.schedules), "the plan replaces what was there"
    assert planned.ceiling_nodes >= settings.dedicated_pools["chat-floor"].ceiling_nodes, "a ceiling is never lowered"
    replaced = ("- {name:", "- {hours:", "- hours:", "hours:", "warmUp:", "schedules:")
    for line in before.splitlines():
        if "#" in line and not line.strip().startswith(replaced):
            comment = line[line.index("#") :]
            assert comment in after, f"the comment {comment!r} was lost"
    kept = {"dedicated_pools", "serverless_pools", "router"}
    assert from_stack_file(stack).model_dump(exclude=kept) == settings.model_dump(exclude=kept)
    assert from_stack_file(stack).dedicated_pools["research-floor"] == settings.dedicated_pools["research-floor"]
    assert {change["path"] for change in found["written"]} >= {"dedicatedPools.chat-floor.schedules"}
    again = run(*arguments)
    assert "already says what the plan says" in again.output
    assert (
        "note: dedicatedPools.chat-floor takes 16 requests at once on a replica, the plan counts on 4" in again.output
    )
    assert stack.read_text(encoding="utf-8") == after


def test_an_hourly_plan_is_written_as_floor_ceiling_and_hourly_floor_and_taken_back(
    on_l4: tuple[Path, Path], tmp_path: Path
) -> None:
    stack = tmp_path / "Pulumi.prod-eu.yaml"
    shutil.copy(ROOT / "stacks" / "Pulumi.prod-eu.yaml", stack)
    arguments = (on_l4[0], "--workload", on_l4[1], "--on", "2026-11-21", "--demand-factor", 20)
    found = json.loads(run(*arguments, "--hourly", "--write", stack, "--json").stdout)
    assert found["plan"]["hourly"], "guard: on this trace it pays"
    pool = from_stack_file(stack).dedicated_pools["chat-floor"]
    assert pool.hourly_floor is not None
    assert (pool.hourly_floor.lead_time_s, pool.schedules) == (600, [])
    assert pool.floor_nodes == -(-found["plan"]["schedule"][0] // 8), "a g6.48xlarge has eight GPUs"
    assert pool.ceiling_nodes >= -(-found["plan"]["ceiling"] // 8)
    back = run(*arguments, "--write", stack).output
    assert "Re-planned every hour (--hourly) it would save" in back
    assert "hourly (with --hourly)" in back
    assert "dedicatedPools.chat-floor.hourlyFloor: {'leadTimeS': 600} -> None" in back
    assert from_stack_file(stack).dedicated_pools["chat-floor"].hourly_floor is None


def test_rises_are_scheduled_a_lead_time_early_and_falls_on_the_hour() -> None:
    entries = schedule_entries([1] * 8 + [3] * 10 + [1] * 6, 4, 600)
    assert [(entry["cron"], entry["floorNodes"]) for entry in entries] == [("50 7 * * *", 3), ("0 18 * * *", 1)]
    weekly = schedule_entries([2] + [1] * 167, 4, 600)
    assert [entry["cron"] for entry in weekly] == ["50 23 * * SUN", "0 1 * * MON"]


def test_a_serverless_pool_gets_instances_warm_up_and_the_router_its_thresholds() -> None:
    document: dict[str, Any] = {
        "config": {
            "inference:dedicatedPools": {"floor": {"workload": "chat", "instanceType": "g6.xlarge", "ceilingNodes": 2}},
            "inference:serverlessPools": {"burst": {"workload": "chat", "minInstances": 0, "maxInstances": 3}},
        }
    }
    sizing = Sizing(
        gpu="L4",
        gpus_per_replica=1,
        batch=4,
        day=date(2026, 11, 21),
        dedicated_usd_hour=0.8048,
        serverless_usd_hour=0.68,
        schedule_gpus=np.array([2]),
        ceiling_gpus=2,
        warm_instances=np.array([0] * 9 + [2] * 3 + [0] * 12),
        max_instances=7,
        idle_timeout_s=5,
        lead_time_s=600,
        max_wait_ms=500,
        start_at_percent=80,
    )
    merge(document, "chat", sizing)
    pool = document["config"]["inference:serverlessPools"]["burst"]
    assert (pool["minInstances"], pool["maxInstances"], pool["idleTimeoutS"]) == (0, 7, 5)
    assert [hour for hour in pool["warmUp"][0]["hours"] if hour < 24] == [9, 10, 11]
    assert len(pool["warmUp"][0]["hours"]) == 21
    assert document["config"]["inference:router"]["spill"] == {"startAtPercent": 80, "maxWaitMs": 500}


def test_write_refuses_a_stack_that_does_not_serve_the_workload(sample: tuple[Path, Path], tmp_path: Path) -> None:
    stack = tmp_path / "Pulumi.prod-eu.yaml"
    shutil.copy(ROOT / "stacks" / "Pulumi.prod-eu.yaml", stack)
    workload = tmp_path / "w.yaml"
    workload.write_text(WORKLOAD.replace("name: chat", "name: nothing"), encoding="utf-8")
    before = stack.read_bytes()
    result = run(sample[0], "--workload", workload, "--on", "2026-11-21", "--write", stack, ok=False)
    assert "is served by no pool of this stack" in str(result.exception)
    assert stack.read_bytes() == before, "nothing half-done"


def test_write_refuses_a_plan_for_another_gpu_or_another_span_than_the_pools_have(
    sample: tuple[Path, Path], on_l4: tuple[Path, Path], tmp_path: Path
) -> None:
    stack = tmp_path / "Pulumi.prod-eu.yaml"
    shutil.copy(ROOT / "stacks" / "Pulumi.prod-eu.yaml", stack)
    before = stack.read_bytes()
    wide = tmp_path / "wide.yaml"
    wide.write_text(ON_L4.replace("weightsGib: 15.0,", "weightsGib: 15.0, tensorParallel: 2,"), encoding="utf-8")
    for workload, planned, found in (
        (sample[1], "A100-80GB", "has (L4)"),
        (wide, "2", "dedicatedPools.chat-floor has (1)"),
    ):
        result = run(sample[0], "--workload", workload, "--on", "2026-11-21", "--write", stack, ok=False)
        assert isinstance(result.exception, Refused)
        assert planned in str(result.exception)
        assert found in str(result.exception)
        assert stack.read_bytes() == before, "nothing half-done"


def test_write_refuses_a_plan_that_no_pool_sizes_can_keep(sample: tuple[Path, Path], tmp_path: Path) -> None:
    stack = tmp_path / "Pulumi.prod-eu.yaml"
    shutil.copy(ROOT / "stacks" / "Pulumi.prod-eu.yaml", stack)
    before = stack.read_bytes()
    workload = tmp_path / "w.yaml"
    capped = WORKLOAD.replace("leadTimeS: 600", "leadTimeS: 600, maximumGpus: 1")
    workload.write_text(capped.replace("coldStartS: 30", "coldStartS: 30, maximumGpus: 1"), encoding="utf-8")
    arguments = (sample[0], "--workload", workload, "--on", "2026-11-21")
    found = json.loads(run(*arguments, "--json").stdout)
    assert found["verdict"]["kind"] == "no plan keeps the caps"
    assert "but at most 1 dedicated and 1 serverless are allowed" in found["plan"]["shortage"]
    result = run(*arguments, "--write", stack, ok=False)
    assert isinstance(result.exception, Refused)
    assert found["plan"]["shortage"] in str(result.exception)
    assert stack.read_bytes() == before, "nothing half-done"


def test_breakeven_reproduces_the_essays_table() -> None:
    rows = {row["pair"].split(":")[0]: row for row in json.loads(run("breakeven", "--essay", "--json").stdout)}
    assert rows["T4"]["breakEven"] == pytest.approx(0.677, abs=0.001)
    assert rows["A100-80GB"]["breakEven"] == pytest.approx(0.58, abs=0.001)
    assert rows["H100"]["breakEven"] == pytest.approx(0.87, abs=0.001)
    assert rows["H100"]["idleTaxUsdHour"]["0.1"] == pytest.approx(59.5)


def test_breakeven_of_given_prices_says_never_at_one_or_more() -> None:
    arguments = ("breakeven", "--dedicated-usd-hour", 6.88, "--serverless-usd-second", 0.00116, "--json")
    row = json.loads(run(*arguments).stdout)[0]
    assert row["never"] is True
    assert row["breakEven"] == pytest.approx(1.6475, abs=1e-3)
    assert "--dedicated-usd-hour: is missing" in str(
        run("breakeven", "--serverless-usd-second", 0.001, ok=False).exception
    )


def test_compare_and_advise_answer_with_numbers(sample: tuple[Path, Path]) -> None:
    ways = json.loads(run("compare", sample[0], "--workload", sample[1], "--on", "2026-11-21", "--json").stdout)["ways"]
    assert [way["name"] for way in ways] == ["dedicated", "serverless", "hybrid"]
    assert ways[0]["attained"] > ways[1]["attained"], "a peak-sized fleet never starts cold"
    steps = json.loads(run("advise", sample[0], "--workload", sample[1], "--on", "2026-11-21", "--json").stdout)[
        "steps"
    ]
    assert any(step["wrong"] for step in steps), "guard: a rule of thumb misleads on this trace"
    assert all(any(ch.isdigit() for ch in step["measured"]) for step in steps)


@pytest.mark.parametrize("suffix", ["html", "pdf"])
def test_the_report_is_written_whole(suffix: str, sample: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / f"report.{suffix}"
    run("report", sample[0], "--workload", sample[1], "--on", "2026-11-21", "--out", out)
    content = out.read_bytes()
    if suffix == "pdf":
        assert content.startswith(b"%PDF")
        assert content.count(b"/Page") > 1
    else:
        page = content.decode()
        assert page.count("<svg") == 5
        first = page[: page.index("<svg")]
        for word in ("a month", "saved in 12 months", "regret", "Committed.", "Risk."):
            assert word in first, f"what the person who pays asks stands before the first plot: {word}"
        assert "Assumptions and sources" in page
        worlds = re.findall(r"If ([^<.]*), the verdict becomes", page)
        assert worlds, "guard: the verdict hangs on a price"
        assert all(re.fullmatch(r"[a-z ]+ (rises|falls) by [1-9]\d*%", world) for world in worlds), worlds
    assert [path.name for path in tmp_path.iterdir()] == [out.name], "no temporary file is left"


def test_the_years_money_adds_up(sample: tuple[Path, Path]) -> None:
    found = year(ask(sample))
    assert set(found.saved_usd) == {0.7, 1.0, 1.3}
    for factor, usd in found.saved_usd.items():
        assert usd == pytest.approx(found.now.year[factor] - found.planned.year[factor])
        assert found.bound.year[factor] <= found.planned.year[factor], "no plan beats the bound, at any demand"
    assert found.now.year[1.0] == pytest.approx(12 * found.now.month)
    assert found.planned.year[1.0] == pytest.approx(12 * found.planned.month)
    assert found.now.year[0.7] < found.now.year[1.0] < found.now.year[1.3]
    assert found.range_usd == (min(found.saved_usd.values()), max(found.saved_usd.values()))


def test_a_report_of_another_format_is_refused(sample: tuple[Path, Path], tmp_path: Path) -> None:
    result = run("report", sample[0], "--workload", sample[1], "--out", tmp_path / "r.doc", ok=False)
    assert "is neither .html nor .pdf" in str(result.exception)


def trial_log(path: Path, usd: float, hours: int = 48) -> Path:
    rng = np.random.default_rng(1)
    rows = "\n".join(
        f"{1_791_158_400 + i * 60},{usd * rng.lognormal(0, 0.2):.6f},{rng.lognormal(0, 0.2):.3f},200"
        for i in range(hours * 60)
    )
    path.write_text(f"timestamp,cost_usd,latency_s,status\n{rows}\n", encoding="utf-8")
    return path


def test_poc_decides_with_its_confidence(tmp_path: Path) -> None:
    control, trial = trial_log(tmp_path / "a.csv", 0.01), trial_log(tmp_path / "b.csv", 0.005)
    found = json.loads(run("poc", "--control", control, "--trial", trial, "--json").stdout)
    assert found["decision"] == "migrate"
    assert found["confidence"] > 0.9
    assert found["saving"]["value"] == pytest.approx(0.5, abs=0.02)
    bad = tmp_path / "c.csv"
    bad.write_text("a,b\n1,2\n", encoding="utf-8")
    refused = run("poc", "--control", control, "--trial", bad, ok=False).exception
    assert "lacks timestamp, usd, latency_s" in str(refused)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("gpu: A100-80GB", "gpu: B9000", "no price is in force"),
        ("weightsGib: 15.0", "weightsGib: -1", "greater than 0"),
        ("provider: runpod, tier: flex", "providr: runpod, tier: flex", "Extra inputs are not permitted"),
        ("provider: runpod, tier: flex, ", "", "has no price"),
        ("name: chat\n", "name: [\n", "can't be read"),
    ],
)
def test_a_bad_workload_file_is_refused(
    old: str, new: str, sentence: str, sample: tuple[Path, Path], tmp_path: Path
) -> None:
    assert old in WORKLOAD
    workload = tmp_path / "w.yaml"
    workload.write_text(WORKLOAD.replace(old, new, 1), encoding="utf-8")
    result = run(sample[0], "--workload", workload, "--on", "2026-11-21", ok=False)
    assert isinstance(result.exception, Refused), result.exception
    assert sentence in str(result.exception)


def test_a_model_that_does_not_fit_its_gpu_is_refused(sample: tuple[Path, Path], tmp_path: Path) -> None:
    workload = tmp_path / "w.yaml"
    text = WORKLOAD.replace("weightsGib: 15.0", "weightsGib: 140")
    workload.write_text(text, encoding="utf-8")
    result = run(sample[0], "--workload", workload, "--on", "2026-11-21", ok=False)
    assert "doesn't fit the model" in str(result.exception)


def test_the_sample_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        run("sample", "--out", tmp_path / name, "--days", 1, "--requests-per-day", 200, "--seed", 7)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
