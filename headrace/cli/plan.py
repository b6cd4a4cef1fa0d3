"""`headrace plan`: a group whose first argument may also be a traffic file."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Final

import click

# name -> (module, attribute, one-line help); imported when used, since numpy and polars cost a second.
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "traffic": ("headrace.cli.plan_traffic", "traffic", "Plan from a traffic file (the default command)."),
    "backtest": ("headrace.cli.plan_backtest", "backtest", "Walk a demand hour by hour and price the decisions."),
    "compare": ("headrace.cli.plan_compare", "compare", "Dedicated, serverless and hybrid side by side."),
    "advise": ("headrace.cli.plan_compare", "advise", "The decision tree answered with computed numbers."),
    "breakeven": ("headrace.cli.plan_breakeven", "breakeven", "Break-even share, idle tax and effective rate."),
    "report": ("headrace.cli.plan_report", "report", "The twelve-month report, as HTML or PDF."),
    "poc": ("headrace.cli.plan_poc", "poc", "Decide after a trial on a share of the traffic."),
    "prices": ("headrace.cli.plan_breakeven", "prices", "The price catalogue with sources and ages."),
    "hourly": ("headrace.cli.plan_hourly", "hourly", "Set a pool's nodes for the coming hour from its traffic."),
    "sample": ("headrace.cli.plan_sample", "sample", "Write a generated sample trace for the quick start."),
}


class PlanGroup(click.Group):
    """Sub-commands from the table; anything else is the traffic file of the default command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, entry in COMMANDS.items() if importlib.util.find_spec(entry[0]) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in COMMANDS and args[0] not in ("-h", "--help"):
            args = ["traffic", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])


@click.group(cls=PlanGroup, no_args_is_help=True)
def plan() -> None:
    """Turn traffic into the cheapest safe mix: `headrace plan TRAFFIC --workload FILE`, or one of the commands."""
