"""`python -m benchmarks.planner`: tables on the screen and one JSON file."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.planner import checks, ratios, series

SHOWN = ("adaptive", "follow-the-leader", "last-hour", "hour-of-day", "newsvendor", "floor-plus-ten", "serverless-only")


def main() -> int:
    """Run everything; exit 1 if a gate of exactness fails."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--quick", action="store_true", help="fewer cases and smaller speed tests")
    cli.add_argument("--long-trace", type=int, default=0, metavar="N", help="also measure memory on N requests")
    cli.add_argument("--json", type=Path, help="write the result here")
    arguments = cli.parse_args()
    folder = series.data_folder()
    if folder is None:
        print("The real traces are not beside the checkout (HEADRACE_DATA): generated traces only.")
    found = list(ratios.cases(folder, quick=arguments.quick))
    result: dict[str, object] = {
        "when": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "ratios": ratios.summary(found),
        "cases": [vars(case) for case in found],
    }
    _print_ratios(ratios.summary(found))
    result["exactness"] = checks.exactness(rounds=20 if arguments.quick else 100)
    _show("exactness", result["exactness"])
    if folder:
        result["hourlyFloor"] = {
            name: checks.hourly_saving(demand, series.tariff(series.ESSAY[gpu]))
            for name, (gpu, demand) in series.six(folder).items()
        }
        _show("what an hourly floor saves", result["hourlyFloor"])
        result["leadTimes"] = checks.lead_times(
            [(demand, series.tariff(series.ESSAY[gpu])) for gpu, demand in series.six(folder).values()]
        )
        _show("an hourly floor's lead time, cost over the bound", result["leadTimes"])
    demands = (
        {name: demand for name, (_, demand) in series.six(folder).items() if name.endswith("A100")} if folder else {}
    )
    demands = demands or {"consumer wave": series.generated()["consumer wave"]}
    prices = series.tariff(series.ESSAY["A100"])
    result["robustness"] = checks.robustness(demands, prices, rounds=2 if arguments.quick else 5)
    _show("robustness", result["robustness"])
    result["attainment"] = {name: checks.attainment(demand, prices) for name, demand in demands.items()}
    _show("attainment", result["attainment"])
    result["simulationSpeed"] = checks.simulation_speed()
    _show("simulation speed", result["simulationSpeed"])
    result["ingestSpeed"] = checks.ingest_speed(requests=1_000_000 if arguments.quick else 5_000_000)
    _show("ingest speed", result["ingestSpeed"])
    result["planSpeed"] = checks.plan_speed()
    _show("plan speed", result["planSpeed"])
    if arguments.long_trace:
        result["memory"] = checks.memory(requests=arguments.long_trace)
        _show("memory", result["memory"])
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2, default=str) + "\n", encoding="utf-8")
    exact = result["exactness"]
    assert isinstance(exact, dict)
    return 0 if exact["worstRelativeError"] <= 1e-9 and exact["bruteForceEqual"] == exact["rounds"] else 1


def _print_ratios(rows: list[dict[str, object]]) -> None:
    print("\ncost over the clairvoyant hourly lower bound, held-out hours: geometric mean / worst")
    for row in rows:
        policies = row["policies"]
        assert isinstance(policies, dict)
        print(f"\n{row['group']} ({row['cases']} cases)")
        for name in SHOWN:
            print(f"  {name:20} {policies[name]['geomean']:.4f} / {policies[name]['worst']:.4f}")
        if row["aboveFloorPlusTen"]:
            print(f"  more than 0.5 % above floor + 10 %: {row['aboveFloorPlusTen']}")
        else:
            print("  never more than 0.5 % above floor + 10 %")


def _show(name: str, values: object) -> None:
    print(f"\n{name}: {json.dumps(values, default=str)}")


if __name__ == "__main__":
    sys.exit(main())
