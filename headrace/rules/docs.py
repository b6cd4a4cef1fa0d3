"""The manual of the rules, made from their code: `python -m headrace.rules.docs` writes docs/policies."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Final

from headrace.rules.registry import RULES
from headrace.rules.rule import Rule, Scope

_INTRODUCTION: Final = """# Policies

The pack in `policies/` holds every preview and update to these rules (`pulumi preview --policy-pack policies`). What
can't be decided blocks like a violation and names the value to make known. `headrace check` runs the pack without any
cloud credential ([more](check.md)); [waivers](waivers.md) excuse a finding by name and date; [config](config.md) sets
levels and parameters.

Made from the code by `python -m headrace.rules.docs`.
"""


def text_of(rule: Rule) -> str:
    """The docstring of the rule's module."""
    return (importlib.import_module(module_of(rule)).__doc__ or "").strip()


def module_of(rule: Rule) -> str:
    """The module that holds a rule: its file is named after it, in the folder of its topic."""
    return rule.check.__module__


def topic_of(rule: Rule) -> str:
    """The folder that the rule is in."""
    return module_of(rule).split(".")[2]


def page(rule: Rule) -> str:
    """The page of one rule."""
    first, _, rest = text_of(rule).partition("\n")
    level = "advisory" if rule.advisory else "mandatory"
    seen = "before each resource changes" if rule.scope is Scope.RESOURCE else "over the whole stack"
    lines = [
        f"# {rule.id}",
        "",
        first,
        "",
        f"Severity {rule.severity.value}; {level}; decided {seen}; since {rule.since}.",
        "",
        rest.strip(),
        "",
        f"**To fix.** {rule.remediation[:1].upper()}{rule.remediation[1:]}.",
        "",
        f"**References.** {'; '.join(rule.references)}.",
        "",
        f"**Reads.** {', '.join(f'`{one}`' for one in rule.reads)}.",
    ]
    if rule.parameters:
        lines += ["", "| Parameter | Default | Meaning |", "|---|---|---|"]
        for one in rule.parameters:
            default = ", ".join(one.default) or "none" if isinstance(one.default, tuple) else f"{one.default:g}"
            lines.append(f"| `{one.name}` | {default} | {one.description} |")
    return "\n".join(lines) + "\n"


def index() -> str:
    """The list of all rules by topic."""
    lines = [_INTRODUCTION]
    for topic in dict.fromkeys(topic_of(rule) for rule in RULES):
        lines += [f"## {topic.capitalize()}", "", "| Policy | Severity | What |", "|---|---|---|"]
        lines += [
            f"| [{rule.id}]({rule.id}.md) | {rule.severity.value} | {rule.description} |"
            for rule in RULES
            if topic_of(rule) == topic
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def pages() -> dict[str, str]:
    """File name -> content."""
    return {"README.md": index(), **{f"{rule.id}.md": page(rule) for rule in RULES}}


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/policies")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pages().items():
        (folder / name).write_text(content, encoding="utf-8")
