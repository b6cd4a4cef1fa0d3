"""Runs last: every operation that the gateway serves itself was called by a test above, and answered in the shape that
botocore declares (the clients of this folder check every answer)."""

from __future__ import annotations

import httpx
import pytest

from headrace_sandbox.aws.catalog import HANDLERS, OVERLAYS
from tests.engine.aws_gateway.conftest import Cloud

pytestmark = pytest.mark.engine


def test_every_operation_of_the_table_was_called(cloud: Cloud, request: pytest.FixtureRequest) -> None:
    folder = {item.path.name for item in request.session.items if item.path.parent == request.path.parent}
    if not {"test_eks.py", "test_gateway.py", "test_other_services.py", "test_small_operations.py"} <= folder:
        pytest.skip("needs the whole folder in one run")
    called = set(httpx.get(f"{cloud.url}/_sandbox/calls").json())
    served = {f"{service}:{operation}" for service, operation in {**HANDLERS, **OVERLAYS}}
    assert not served - called, f"served, but no test calls them: {sorted(served - called)}"
