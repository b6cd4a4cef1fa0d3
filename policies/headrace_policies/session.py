"""What a run of the pack knows beside resources: the stack's settings, its waivers, and where it reports.

Everything is read on the first question, because the settings' library takes longer to import than a pack to start.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.rules import waiver
from headrace.rules.finding import Finding
from headrace.rules.registry import RULES

if TYPE_CHECKING:
    from headrace.settings.tree import Settings

# Where `headrace check` wants findings as data, one JSON object a line, beside what the engine is told.
REPORT_VARIABLE: Final = "HEADRACE_POLICY_REPORT"
# A stack file whose settings count instead of the engine's configuration; `policy analyze` hands over none.
SETTINGS_VARIABLE: Final = "HEADRACE_POLICY_SETTINGS"
WAIVERS_VARIABLE: Final = "HEADRACE_POLICY_WAIVERS"
TODAY_VARIABLE: Final = "HEADRACE_POLICY_TODAY"
_PROJECT: Final = "inference"
_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Settings, or why they can't be read. Both None: the program has none."""

    settings: Settings | None
    problems: tuple[str, ...] = ()


def today() -> date:
    """The day that prices, waivers and terms are judged by."""
    given = os.environ.get(TODAY_VARIABLE)
    return date.fromisoformat(given) if given else datetime.now(tz=UTC).date()


def dry_run() -> bool:
    """Whether this is a preview."""
    return os.environ.get("PULUMI_DRY_RUN", "true").lower() != "false"


@cache
def loaded() -> Loaded:
    """The stack's settings by its configuration."""
    values = _values()
    if isinstance(values, str):
        return Loaded(settings=None, problems=(values,))
    if not values:
        return Loaded(settings=None)
    from headrace.settings.load import validate

    verdict = validate(values, today=today())
    return Loaded(settings=verdict.settings, problems=tuple(str(problem) for problem in verdict.problems))


def _values() -> Mapping[str, Any] | str:
    file = os.environ.get(SETTINGS_VARIABLE)
    if file:
        from headrace.errors import Refused
        from headrace.settings.load import read_stack_file

        try:
            return read_stack_file(file)
        except Refused as refused:
            return str(refused)
    try:
        config = json.loads(os.environ.get("PULUMI_CONFIG") or "{}")
    except ValueError as error:
        return f"the stack's configuration is not JSON ({error})"
    return {
        key.partition(":")[2]: _plain(value)
        for key, value in (config if isinstance(config, dict) else {}).items()
        if key.startswith(f"{_PROJECT}:")
    }


def _plain(value: Any) -> Any:
    """The engine hands over every value as text, structures as JSON; a scalar that is text stays text."""
    if not isinstance(value, str) or value[:1] not in "[{":
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


@cache
def waivers() -> tuple[waiver.Waiver, ...]:
    """The reviewed file beside the pack. Raises `Refused` where it can't be read: then nothing passes."""
    file = waivers_file()
    if not file.is_file():
        return ()
    from headrace.settings.load import read_yaml_file

    return waiver.read(read_yaml_file(file), str(file), [rule.id for rule in RULES])


def environment() -> str | None:
    """The environment's name."""
    settings = loaded().settings
    return settings.environment if settings else os.environ.get("PULUMI_STACK")


def waivers_file() -> Path:
    """The reviewed file of waivers."""
    return Path(os.environ.get(WAIVERS_VARIABLE) or _ROOT / "policies" / "waivers.yaml")


_RECORDED: Final[dict[tuple[str, str, str], str]] = {}


def record_use(finding: Finding, by: waiver.Waiver) -> str:
    """Enters the use of a waiver into the audit record, once a run, and returns its place there in words. Raises
    `NotRecorded`."""
    from headrace.audit import waiver_uses

    key = (finding.rule, finding.resource, finding.sentence)
    if key not in _RECORDED:
        link = waiver_uses.append(
            waiver_uses.path(_ROOT),
            waiver_uses.Use(
                at=datetime.now(tz=UTC).isoformat(timespec="seconds"),
                run="live" if os.environ.get("PULUMI_CONFIG") is None else "preview" if dry_run() else "update",
                stack=os.environ.get("PULUMI_STACK") or environment() or "",
                policy=finding.rule,
                resource=finding.resource,
                finding=finding.sentence,
                reason=by.reason,
                approver=by.approver,
                ticket=by.ticket,
                expires=by.expires.isoformat(),
                policy_version=_version(),
                commit=_commit(),
                waivers_sha256=hashlib.sha256(waivers_file().read_bytes()).hexdigest(),
            ),
        )
        _RECORDED[key] = f"entry {link.sequence}, head {link.hash.hex()[:16]}"
    return _RECORDED[key]


def _version() -> str:
    """The pack's version. It stands in one place, and the SDK doesn't hand it over."""
    text = (_ROOT / "policies" / "PulumiPolicy.yaml").read_text(encoding="utf-8")
    return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("version:")), "")


@cache
def _commit() -> str:
    """The commit that is checked out; "unknown" outside of a repository."""
    argv = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own argv
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def report(kind: str, findings: Sequence[Finding], by: Mapping[Finding, waiver.Waiver] | None = None) -> None:
    """Adds findings to the report that `headrace check` asked for; does nothing without one."""
    path = os.environ.get(REPORT_VARIABLE)
    if not path or not findings:
        return
    lines = [json.dumps(_record(kind, finding, (by or {}).get(finding)), sort_keys=True) for finding in findings]
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _record(kind: str, finding: Finding, by: waiver.Waiver | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": kind,
        "policy": finding.rule,
        "severity": finding.severity.value,
        "status": finding.status.value,
        "resource": finding.resource,
        "sentence": finding.sentence,
        "remediation": finding.remediation,
    }
    if by is not None:
        record["waiver"] = {
            "reason": by.reason,
            "approver": by.approver,
            "ticket": by.ticket,
            "expires": by.expires.isoformat(),
        }
    return record


def say(text: str) -> None:
    """A line that the engine shows with the stack, beside findings."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
