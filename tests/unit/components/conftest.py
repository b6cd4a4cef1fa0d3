"""Components without an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pulumi
import pytest

from tests.unit.components.recording import Engine, Run


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A fresh recording engine."""
    mocks = Engine()
    pulumi.runtime.set_mocks(mocks, project="inference", stack="test", preview=False)
    yield mocks


@pytest.fixture
def run(engine: Engine) -> Run:
    """Runs a program to its end: absence may be asserted only when every registration has been drained."""

    def run_program(program: Callable[[], Any]) -> Any:
        made: list[Any] = []
        test = pulumi.runtime.test(lambda: made.append(program()))
        test()
        return made[0]

    return run_program
