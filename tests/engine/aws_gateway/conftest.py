"""A running gateway (moto and the gateway as real processes) for the tests of this folder."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator

from headrace_sandbox.aws.services import services
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.supervise_ports import free_port

REGION = "eu-central-1"
TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},'
    '"Action":"sts:AssumeRole"}]}'
)


class Cloud:
    """The two processes, and clients of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ports: dict[str, int] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._clients: dict[tuple[str, str, str], Any] = {}

    def _port(self, name: str) -> int:
        if name not in self._ports:
            self._ports[name] = free_port(taken=self._ports.values())
        return self._ports[name]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port('aws')}"

    def start(self) -> None:
        for service in services(SandboxContext(directory=self.directory, port=self._port)):
            log = (self.directory / f"{service.name}.log").open("ab")
            process = subprocess.Popen(service.argv, stdout=log, stderr=log, env={**os.environ, **service.env})
            self._processes.append(process)
            until = time.monotonic() + service.ready_timeout_s
            while not service.ready():
                assert process.poll() is None, (self.directory / f"{service.name}.log").read_text()[-2000:]
                assert time.monotonic() < until, f"{service.name} isn't ready"
                time.sleep(0.1)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(timeout=60)
        self._processes.clear()

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(timeout=60)
        self._processes.clear()

    def client(self, service: str, *, region: str = REGION, key: str = "AKIATEST") -> Any:
        at = (service, region, key)
        if at not in self._clients:
            self._clients[at] = boto3.client(  # type: ignore[call-overload]  # the name of the service is a variable
                service,
                endpoint_url=self.url,
                region_name=region,
                aws_access_key_id=key,
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}),
            )
            self._clients[at].meta.events.register_first("after-call.*.*", self._validate)
        return self._clients[at]

    @staticmethod
    def _validate(http_response: Any, parsed: dict[str, Any], model: Any, **_: object) -> None:
        """Every successful answer must have the shape that botocore declares for it."""
        if http_response.status_code < 300 and model.output_shape is not None and not model.has_streaming_output:
            report = ParamValidator().validate(
                {k: v for k, v in parsed.items() if k != "ResponseMetadata"}, model.output_shape
            )
            assert not report.has_errors(), f"{model.name}: {report.generate_report()}"


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    running = Cloud(tmp_path_factory.mktemp("aws"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package")
def network(cloud: Cloud) -> dict[str, Any]:
    """A VPC with one subnet in each of three zones, which many tests put something into."""
    return make_network(cloud, 40)


def make_network(cloud: Cloud, number: int) -> dict[str, Any]:
    """A VPC of the range 10.`number`.0.0/16 with one subnet in each of three zones."""
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.{number}.{i}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
            "SubnetId"
        ]
        for i, zone in enumerate("abc")
    ]
    return {"vpc": vpc, "subnets": subnets}


@pytest.fixture(scope="package")
def role(cloud: Cloud) -> Callable[[str], str]:
    """Creates an IAM role and returns its ARN."""

    def make(name: str) -> str:
        return str(cloud.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"])

    return make


@pytest.fixture(scope="package")
def cluster(cloud: Cloud, network: dict[str, Any], role: Callable[[str], str]) -> str:
    """An active cluster named `shared` with the API authentication mode."""
    eks = cloud.client("eks")
    eks.create_cluster(
        name="shared",
        roleArn=role("shared-cluster"),
        resourcesVpcConfig={"subnetIds": network["subnets"]},
        accessConfig={"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
    )
    settle(lambda: eks.describe_cluster(name="shared")["cluster"]["status"], "ACTIVE")
    return "shared"


def settle(read: Callable[[], str], wanted: str, seconds: float = 120.0) -> None:
    """Poll until a status is what is wanted."""
    until = time.monotonic() + seconds
    while (status := read()) != wanted:
        assert time.monotonic() < until, f"still {status}, not {wanted}"
        time.sleep(0.05)
