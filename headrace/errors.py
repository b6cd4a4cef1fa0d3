"""The one way Headrace says no.

A refusal is a sentence for a person, not a traceback: it names the input, its value, the rule, the reason and the next
step. Every command turns a `Refused` into that text on standard error and exit code 2; anything else that escapes is
a fault of ours.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with an input. `path` is where it stands (`dedicatedPools.floor.instanceType`, `--out`)."""

    path: str
    value: object
    rule: str
    reason: str
    next_step: str

    def __str__(self) -> str:
        value = "" if self.value is None else f" is {self.value!r}"
        reason = f", because {self.reason}" if self.reason else ""
        return f"{self.path}{value}: {self.rule}{reason}; {self.next_step}."


class Refused(Exception):
    """A bad input, with every problem found, so that one run shows them all."""

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise ValueError("a refusal without a problem helps nobody")
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def refuse(path: str, value: object, rule: str, *, reason: str = "", next_step: str) -> Refused:
    """A `Refused` with one problem: `raise refuse("--port", 80, "…", reason="…", next_step="…")`."""
    return Refused(Problem(path=path, value=value, rule=rule, reason=reason, next_step=next_step))
