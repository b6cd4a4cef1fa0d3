"""A valid tree to break, one thing at a time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from headrace.settings import read_stack_file

STACKS = Path(__file__).parents[3] / "stacks"


@pytest.fixture(scope="session")
def _sandbox() -> dict[str, Any]:
    return read_stack_file(STACKS / "Pulumi.sandbox.yaml")


@pytest.fixture
def tree(_sandbox: dict[str, Any]) -> dict[str, Any]:
    """The sandbox stack's settings, free to change."""
    return copy.deepcopy(_sandbox)
