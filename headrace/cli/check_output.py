"""A check's result for people and for machines: text, SARIF, JUnit, Markdown.

Only SARIF reads a file: the stack file, for the lines that its findings point at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from headrace.cli.check_run import Checked
from headrace.rules.registry import RULES

_DOCS: Final = "docs/policies"
_SARIF_LEVEL: Final = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def name_of(resource: str) -> str:
    """A resource as a person calls it: `aws:eks/cluster:Cluster gpu`, or a settings path."""
    parts = resource.split("::")
    return f"{parts[2].rsplit('$', 1)[-1]} {parts[3]}" if len(parts) >= 4 else resource.removeprefix("settings:")


def text(results: Iterable[Checked]) -> str:
    """Grouped by policy, with remediation; waived ones and the cost at the end."""
    lines: list[str] = []
    for result in results:
        lines.append(f"{result.subject}: {_verdict(result)} ({result.seconds:.0f} s)")
        if result.failure:
            lines += [f"  {line}" for line in result.failure.splitlines()]
        for title, found in (("", result.open), ("advice: ", result.advice)):
            for policy, some in groupby(found, key=lambda one: str(one["policy"])):
                group = list(some)
                lines.append(f"  {title}{policy} ({group[0]['severity']})")
                lines += [f"    {_line(one)}" for one in group]
                lines += [f"    -> {fix}" for fix in dict.fromkeys(one["remediation"] for one in group) if fix]
        for one in result.waived:
            by = one["waiver"]
            lines.append(f"  waived: {one['policy']} on {name_of(one['resource'])}: {by['approver']} ({by['ticket']}) "
                         f"until {by['expires']}: {by['reason']}")  # fmt: skip
        if result.cost:
            lines.append(f"  {result.cost}")
    return "\n".join(lines)


def _verdict(result: Checked) -> str:
    if result.failure:
        return "could not be checked"
    if not result.open:
        return "clean" if not result.waived else f"clean, {len(result.waived)} waived"
    return f"{len(result.open)} findings that block"


def _line(one: Mapping[str, Any]) -> str:
    unknown = "can't be decided: " if one["status"] == "undecidable" else ""
    return f"{name_of(str(one['resource']))}: {unknown}{one['sentence']}"


def markdown(results: Iterable[Checked]) -> str:
    """A comment for a pull request."""
    lines = ["## Policy check", ""]
    for result in results:
        lines += [f"### {result.subject}: {_verdict(result)}", ""]
        if result.failure:
            lines += ["```", result.failure, "```", ""]
        if result.open or result.advice:
            lines += ["| Severity | Policy | Where | What | To fix |", "|---|---|---|---|---|"]
            for one in (*result.open, *result.advice):
                policy = f"[{one['policy']}]({_DOCS}/{one['policy']}.md)"
                cells = (one["severity"], policy, f"`{name_of(one['resource'])}`", one["sentence"], one["remediation"])
                lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
            lines.append("")
        for one in result.waived:
            by = one["waiver"]
            lines.append(f"- waived: {one['policy']} on `{name_of(one['resource'])}` by {by['approver']} "
                         f"({by['ticket']}) until {by['expires']}")  # fmt: skip
        if result.cost:
            lines += ["", f"_{result.cost}_"]
        lines.append("")
    return "\n".join(lines)


def sarif(results: Iterable[Checked], version: str) -> str:
    """SARIF 2.1.0: one run, waived findings as suppressed results. A finding points at its stack file, one on settings
    at the line of the setting."""
    rules = [
        {
            "id": rule.id,
            "name": rule.title,
            "shortDescription": {"text": rule.description},
            "help": {"text": rule.remediation},
            "properties": {"tags": list(rule.references), "security-severity": _score(rule.severity.value)},
        }
        for rule in RULES
    ]
    found = [
        _sarif_result(uri, lines, one, suppressed=kind == "waived")
        for result in results
        for uri, lines in [(_uri(result), _lines(result.source))]
        for kind in ("open", "advice", "waived")
        for one in getattr(result, kind)
    ]
    driver = {"name": "headrace check", "version": version, "rules": rules}
    return json.dumps(
        {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": found}]}, indent=2
    )


def _score(severity: str) -> str:
    return {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0"}[severity]


def _uri(result: Checked) -> str:
    """The source as a code host knows it: by its path below the current folder, where it is below it."""
    path = Path(result.source or f"stacks/Pulumi.{result.subject}.yaml")
    if not path.is_absolute():
        return path.as_posix()
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_uri()


def _lines(source: str) -> Mapping[str, int]:
    """Line of every key of a stack file's configuration by its dotted path without our namespace."""
    import yaml

    path = Path(source)
    try:
        document = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader) if source else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    config = next((value for key, value in _pairs(document) if key.value == "config"), None)
    return dict(_below(config, ""))


def _pairs(node: Any) -> Iterator[tuple[Any, Any]]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        yield from node.value


def _below(node: Any, path: str) -> Iterator[tuple[str, int]]:
    for key, value in _pairs(node):
        name = str(key.value)
        here = f"{path}.{name}" if path else name.removeprefix("inference:")
        yield here, key.start_mark.line + 1
        yield from _below(value, here)


def _line_of(resource: str, lines: Mapping[str, int]) -> int:
    """The line of a setting, else of the nearest one above it, else the first."""
    path = resource.removeprefix("settings:") if resource.startswith("settings:") else ""
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return lines.get(path, 1)


def _sarif_result(uri: str, lines: Mapping[str, int], one: Mapping[str, Any], *, suppressed: bool) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": uri},
            "region": {"startLine": _line_of(str(one["resource"]), lines)},
        },
        "logicalLocations": [{"fullyQualifiedName": one["resource"], "kind": "resource"}],
    }
    result: dict[str, Any] = {
        "ruleId": one["policy"],
        "level": _SARIF_LEVEL[str(one["severity"])],
        "message": {"text": f"{_line(one)}. To fix: {one['remediation']}"},
        "locations": [location],
    }
    if suppressed:
        by = one["waiver"]
        justification = f"{by['reason']} ({by['approver']}, {by['ticket']}, until {by['expires']})"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": justification}]
    return result


def junit(results: Iterable[Checked]) -> str:
    """One suite a subject, one case a policy: failed where it blocks, skipped where it was waived."""
    suites = ElementTree.Element("testsuites")
    for result in results:
        suite = ElementTree.SubElement(suites, "testsuite", name=f"headrace check {result.subject}")
        names = [rule.id for rule in RULES]
        names += [one["policy"] for one in result.open if one["policy"] not in names]
        for name in dict.fromkeys(names):
            case = ElementTree.SubElement(suite, "testcase", classname="headrace.policies", name=name)
            broken = [one for one in result.open if one["policy"] == name]
            excused = [one for one in result.waived if one["policy"] == name]
            if broken:
                failure = ElementTree.SubElement(case, "failure", message=_line(broken[0]))
                failure.text = "\n".join(f"{_line(one)}. To fix: {one['remediation']}" for one in broken)
            elif excused:
                ElementTree.SubElement(case, "skipped", message=f"waived: {excused[0]['waiver']['ticket']}")
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", "0")
        if result.failure:
            case = ElementTree.SubElement(suite, "testcase", classname="headrace.policies", name="engine")
            ElementTree.SubElement(case, "error", message=result.failure.splitlines()[0]).text = result.failure
            suite.set("errors", "1")
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)
