"""One control plane and one AWS stand-in for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace_sandbox import supervise
from headrace_sandbox.aws.services import services as aws_services
from headrace_sandbox.kubernetes.kube import Kube
from headrace_sandbox.kubernetes.layout import layout
from headrace_sandbox.kubernetes.services import services as kubernetes_services

from .plane import Plane


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    directory = tmp_path_factory.mktemp("sandbox")
    context = supervise.open_context(directory)
    supervise.up(context, [*kubernetes_services(context), *aws_services(context)])
    at = layout(context)
    try:
        with Kube.of(at.api_url, at.pki, "admin") as kube:
            yield Plane(context=context, at=at, kube=kube)
    finally:
        supervise.down(directory)
