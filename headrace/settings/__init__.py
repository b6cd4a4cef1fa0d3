"""A stack's configuration as one typed tree.

`load(mapping | file)` gives valid `Settings` or raises `Refused` with every problem; `validate(mapping)` gives the
problems and warnings without raising.
"""

from __future__ import annotations

from headrace.settings.load import PROJECT, Verdict, from_stack_file, load, read_stack_file, validate
from headrace.settings.tree import Settings, Stage

__all__ = ["PROJECT", "Settings", "Stage", "Verdict", "from_stack_file", "load", "read_stack_file", "validate"]
