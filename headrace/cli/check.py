"""`headrace check`: the policy pack through the real engine, without any cloud credential.

Exit codes: 0 nothing blocks (advice and waived findings may be there), 1 findings block, 2 the input was refused,
3 the engine could not finish, so nothing is known.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Final

import click

from headrace.errors import refuse

EXIT_FINDINGS: Final = 1
EXIT_NOT_CHECKED: Final = 3
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("stacks", nargs=-1, metavar="[STACK…]")
@click.option("--all-stacks", is_flag=True, help="Every stack of the repository.")
@click.option("--settings", "settings_file", type=_FILE, help="A stack file, with the repository's own program.")
@click.option("--program", type=_FOLDER, help="A folder with a Pulumi program of your own.")
@click.option("--stack", "program_stack", help="The stack of --program; its first by default.")
@click.option("--against", type=click.Choice(["preview", "live"]), default="preview", show_default=True,
              help="What a preview would make, or what is deployed (offline, from the state).")  # fmt: skip
@click.option(
    "--policy-config", type=_FILE, help="Levels, parameters and exemptions, as JSON (docs/policies/config.md)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--sarif", type=_FILE, help="Write SARIF 2.1.0 to this file.")
@click.option("--junit", type=_FILE, help="Write JUnit XML to this file.")
@click.option("--markdown", type=_FILE, help="Write a comment for a pull request to this file.")
def check(
    stacks: tuple[str, ...],
    *,
    all_stacks: bool,
    settings_file: Path | None,
    program: Path | None,
    program_stack: str | None,
    against: str,
    policy_config: Path | None,
    as_json: bool,
    sarif: Path | None,
    junit: Path | None,
    markdown: Path | None,
) -> None:
    """Run the policy pack on STACKs, a settings file or a program."""
    from headrace.cli import check_config, check_output, check_run

    if sum((bool(stacks), all_stacks, settings_file is not None, program is not None)) != 1:
        raise refuse(
            "headrace check",
            None,
            "it checks one kind of thing at a time",
            next_step="name stacks, or give one of --all-stacks, --settings FILE, --program DIR",
        )
    if against == "live" and (settings_file or program):
        raise refuse("--against", "live", "only a deployed stack has a state", next_step="name the stack")
    if settings_file is not None:
        from headrace.settings.load import load, read_stack_file

        load(read_stack_file(settings_file))  # refused before anything is started
    config = check_config.checked(policy_config) if policy_config else None
    bench = check_run.start()
    if settings_file is not None:
        subjects = [check_run.of_settings(bench, settings_file)]
    elif program is not None:
        subjects = [check_run.of_program(bench, program, program_stack)]
    else:
        names = check_run.known_stacks(bench.root) if all_stacks else list(stacks)
        subjects = [check_run.of_stack(bench, name) for name in names]
    if against == "live":
        results = [check_run.against_live(bench, subject) for subject in subjects]
    else:
        results = [check_run.check(bench, subject, config) for subject in subjects]
    click.echo(json.dumps([one.report() for one in results], indent=2) if as_json else check_output.text(results))
    if any(one.waived for one in results) and not as_json:
        click.echo(f"uses of waivers are recorded in {check_run.record(bench)}")
    version = importlib.metadata.version("headrace")
    for file, content in (
        (sarif, check_output.sarif(results, version)),
        (junit, check_output.junit(results)),
        (markdown, check_output.markdown(results)),
    ):
        if file is not None:
            file.write_text(content + "\n", encoding="utf-8")
    if any(one.failure for one in results):
        sys.exit(EXIT_NOT_CHECKED)
    if any(one.open for one in results):
        sys.exit(EXIT_FINDINGS)
