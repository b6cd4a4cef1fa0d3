"""An AWS of this test session, a client of it, and a driver of the provider without the engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest

from headrace_sandbox import supervise
from headrace_sandbox.aws import services
from headrace_sandbox.service import SandboxContext
from tests.engine.aws_provider.driver import Driver

KEY = "AKIAIOSFODNN7EXAMPLE"  # AWS's own documentation example: it opens nothing anywhere


@pytest.fixture(scope="session")
def aws_url(sandbox_context: SandboxContext) -> str:
    """The gateway's address; only the AWS part of the sandbox is started, unless all of it runs already."""
    file = sandbox_context.directory / "endpoints.json"
    if not file.is_file() or "aws" not in json.loads(file.read_text()):
        supervise.up(sandbox_context, services.services(sandbox_context))
    return supervise.endpoints(sandbox_context.directory)["aws"]


@pytest.fixture
def aws(aws_url: str) -> Callable[[str], Any]:
    """`aws("ec2")`: a client, to look and to do things behind the provider's back."""
    session = botocore.session.Session()
    session.set_credentials(KEY, "sandbox")

    def client(service: str, region: str = "us-east-1") -> Any:
        return session.create_client(service, region_name=region, endpoint_url=aws_url)

    return client


@pytest.fixture
def driver(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A provider in this process, with default tags; what a test leaves is deleted."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sandbox")
    made = Driver(defaultTags=json.dumps({"tags": {"stack": "test"}}))
    yield made
    made.close()
