"""Waivers: dated, named, reasoned exceptions from a reviewed file. Pure: text and findings in, findings out.

A waiver covers findings of one policy on resources that its pattern matches (`fnmatch` on the URN, the name or the
settings path). It never covers what can't be decided: an unknown value is made known, not excused.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from headrace.errors import Problem, Refused
from headrace.rules.finding import Finding, Severity, Status

WAIVERS_RULE: Final = "waiver-not-valid"
UNUSED_RULE: Final = "waiver-unused"
_FIELDS: Final = ("policy", "resource", "reason", "approver", "ticket", "expires")
# A pattern must say more than a kind: this many characters that are no wildcard, of the resource's own name.
_LEAST_LITERAL: Final = 3
_LONGEST_DAYS: Final = 366
_LEAST_REASON: Final = 15


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """One exception. `environments` limits it; empty means every environment."""

    policy: str
    resource: str
    reason: str
    approver: str
    ticket: str
    expires: date
    environments: tuple[str, ...] = ()

    def covers(self, finding: Finding) -> bool:
        """Whether this waiver is for a finding."""
        if finding.rule != self.policy or finding.status is not Status.VIOLATION:
            return False
        own = finding.resource.split("::")[-1]
        kind = finding.resource.split("::")[2].rsplit("$", 1)[-1] if finding.resource.count("::") >= 3 else ""
        names = (finding.resource, own, f"{kind}::{own}")
        return any(fnmatch.fnmatchcase(name, self.resource) for name in names)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is left of findings once waivers are applied; which waiver excused what; what is wrong with waivers."""

    open: tuple[Finding, ...]
    waived: tuple[tuple[Finding, Waiver], ...]
    complaints: tuple[Finding, ...]
    unused: tuple[Waiver, ...]


def read(document: object, where: str, policies: Collection[str]) -> tuple[Waiver, ...]:
    """Waivers of a parsed file `{waivers: [{policy, resource, reason, approver, ticket, expires, environments?}]}`.
    Raises `Refused` with every problem."""
    problems: list[Problem] = []
    entries = document.get("waivers") if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping) or set(document) != {"waivers"} or not isinstance(entries, list):
        raise Refused(
            _problem(
                where, None, "it must be a mapping with the one key `waivers`, a list", "see docs/policies/waivers.md"
            )
        )
    waivers = [_entry(entry, f"{where}: waivers[{index}]", policies, problems) for index, entry in enumerate(entries)]
    if problems:
        raise Refused(*problems)
    return tuple(one for one in waivers if one is not None)


def _entry(entry: Any, where: str, policies: Collection[str], problems: list[Problem]) -> Waiver | None:
    before = len(problems)
    if not isinstance(entry, Mapping):
        problems.append(_problem(where, None, "it must be a mapping", f"give it {', '.join(_FIELDS)}"))
        return None
    problems += [
        _problem(f"{where}.{key}", None, "there is no such field", f"use {', '.join(_FIELDS)} or environments")
        for key in entry
        if key not in (*_FIELDS, "environments")
    ]
    for key in _FIELDS:
        value = entry.get(key)
        if key == "expires":
            if isinstance(value, datetime) or (not isinstance(value, date) and not _is_date(value)):
                problems.append(_problem(f"{where}.expires", value, "it must be a date", "write year-month-day"))
        elif not isinstance(value, str) or not value.strip():
            problems.append(
                _problem(f"{where}.{key}", value, "it must be text", "a waiver without it can't be reviewed")
            )
    policy, reason = entry.get("policy"), entry.get("reason")
    if isinstance(policy, str) and policy and policy not in policies:
        problems.append(
            _problem(f"{where}.policy", policy, "there is no policy of that name", _nearest(policy, policies))
        )
    if isinstance(reason, str) and 0 < len(reason.strip()) < _LEAST_REASON:
        problems.append(
            _problem(
                f"{where}.reason", reason, f"it must say why in {_LEAST_REASON} characters or more", "write the reason"
            )
        )
    environments = entry.get("environments", [])
    if not isinstance(environments, list) or not all(isinstance(one, str) for one in environments):
        problems.append(
            _problem(f"{where}.environments", environments, "it must be a list of names", "write [prod-eu]")
        )
    if len(problems) > before:
        return None
    expires = entry["expires"]
    return Waiver(
        policy=entry["policy"],
        resource=entry["resource"],
        reason=entry["reason"].strip(),
        approver=entry["approver"],
        ticket=entry["ticket"],
        expires=expires if isinstance(expires, date) else date.fromisoformat(expires),
        environments=tuple(environments),
    )


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _nearest(word: str, known: Collection[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else "`docs/policies/README.md` lists them"


def _problem(path: str, value: object, rule: str, next_step: str) -> Problem:
    return Problem(path=path, value=value, rule=rule, reason="", next_step=next_step.rstrip("."))


def apply(findings: Iterable[Finding], waivers: Sequence[Waiver], *, environment: str | None, today: date) -> Outcome:
    """Splits findings into open and waived. Expired and too broad waivers excuse nothing and are complained about."""
    here = [one for one in waivers if not one.environments or environment is None or environment in one.environments]
    complaints = [complaint for one in here for complaint in _complaints(one, today)]
    valid = [one for one in here if not any(True for _ in _complaints(one, today))]
    left: list[Finding] = []
    waived: list[tuple[Finding, Waiver]] = []
    for finding in findings:
        by = next((one for one in valid if one.covers(finding)), None)
        if by is None:
            left.append(finding)
        else:
            waived.append((finding, by))
    used = {by for _, by in waived}
    return Outcome(
        open=tuple(left),
        waived=tuple(waived),
        complaints=tuple(complaints),
        unused=tuple(one for one in valid if one not in used),
    )


def _complaints(one: Waiver, today: date) -> Iterable[Finding]:
    finding = Finding(
        rule=WAIVERS_RULE,
        severity=Severity.HIGH,
        status=Status.VIOLATION,
        resource="stack",
        sentence="",
        remediation="",
    )
    who = f"the waiver of {one.policy} for {one.resource} ({one.ticket}, {one.approver})"
    if one.expires < today:
        yield replace(
            finding,
            sentence=f"{who} expired on {one.expires}",
            remediation="mend what it excused, or have it approved again with a new date",
        )
    elif (one.expires - today).days > _LONGEST_DAYS:
        yield replace(
            finding,
            sentence=f"{who} lasts until {one.expires}, longer than a year",
            remediation="give it a date within a year, so that somebody looks at it again",
        )
    own = one.resource.split("::")[-1]
    literal = re.sub(r"\[[^]]*\]|[*?]", "", own.removeprefix("settings:"))
    if len(literal) < _LEAST_LITERAL:
        yield replace(
            finding,
            sentence=f"{who} is too broad: {own!r} would excuse nearly every resource",
            remediation="name the resource, or a prefix of its name",
        )


def unused(one: Waiver) -> Finding:
    """A waiver that excused nothing: it warns, because somebody may rely on it later without knowing."""
    return Finding(
        rule=UNUSED_RULE,
        severity=Severity.LOW,
        status=Status.VIOLATION,
        resource="stack",
        sentence=f"the waiver of {one.policy} for {one.resource} ({one.ticket}) excuses nothing",
        remediation="remove it from policies/waivers.yaml",
    )
