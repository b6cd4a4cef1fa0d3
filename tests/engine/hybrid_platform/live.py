"""The platform as it runs in a sandbox: its stack, the account and the cluster behind it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from ruamel.yaml import YAML

from headrace_sandbox import environment, stack_config, supervise, supervise_process
from headrace_sandbox.kubernetes.layout import layout
from headrace_sandbox.kubernetes_provider import kubeconfig
from headrace_sandbox.kubernetes_provider.client import Client
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.stack import Stack
from tests.engine.hybrid_platform import inventory

REGION: Final = "eu-central-1"
NODE_GROUP: Final = "aws:eks/nodeGroup:NodeGroup"


@dataclass(frozen=True, kw_only=True)
class Live:
    """One stack of the platform, and everything that was there before it."""

    stack: Stack
    context: SandboxContext
    aws_before: frozenset[inventory.Pair]
    made_before: frozenset[inventory.Pair]
    objects_before: frozenset[str]

    def aws(self, service: str) -> Any:
        return clients(self.context)(service)

    @property
    def cluster(self) -> Client:
        return administrator(self.context)

    def state_ids(self) -> set[str]:
        return {str(resource["id"]) for resource in self.stack.resources() if resource.get("id")}

    def strangers(self) -> set[inventory.Pair]:
        """What is in the account because of this stack, but not in its state: orphans."""
        known = self.state_ids()
        found = inventory.aws_ids(clients(self.context)) - self.aws_before
        return {pair for pair in found if pair[1] not in known}

    def missing(self) -> set[inventory.Pair]:
        """What the state has and the account doesn't, of the types that the inventory lists."""
        found = inventory.aws_ids(clients(self.context))
        kinds = {kind for kind, _ in found}
        state = {(str(one["type"]), str(one["id"])) for one in self.stack.resources() if one.get("id")}
        return {pair for pair in state if pair[0] in kinds} - found

    def leftovers(self) -> set[str]:
        """Everything, in the account and in the cluster, that wasn't there before this stack."""
        boto = clients(self.context)
        left = {" ".join(pair) for pair in inventory.aws_ids(boto) - self.aws_before}
        left |= {" ".join(pair) for pair in inventory.aws_made(boto) - self.made_before}
        return left | (inventory.kubernetes_objects(self.cluster) - self.objects_before)

    def configure(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the stack's configuration: `change` gets what stands below `config:`."""
        rewrite(stack_config.source(self.stack.project, self.stack.name), change)

    @contextmanager
    def tried(self, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """`configure` for the length of a block, for previews."""
        file = stack_config.source(self.stack.project, self.stack.name)
        before = file.read_text(encoding="utf-8")
        try:
            self.configure(change)
            yield
        finally:
            file.write_text(before, encoding="utf-8")

    def steps(self, *arguments: str) -> dict[str, tuple[str, list[str]]]:
        """What a preview would change: URN -> (operation, the properties that force a replacement)."""
        shown = json.loads(self.stack.run("preview", "--json", *arguments).stdout)
        return {
            str(step["urn"]): (str(step["op"]), [str(name) for name in step.get("replaceReasons") or ()])
            for step in shown["steps"]
            if step["op"] != "same"
        }

    def up_killed_after(self, *, created: int) -> None:
        """Start an update, and kill the engine (SIGKILL) once it has created so many resources; waits for plugins."""
        log = self.context.directory.parent / "killed-up.log"
        environ = {**self.stack.environment(), supervise_process.MARK: f"{self.context.directory}/killed-up"}
        with log.open("wb") as output:
            running = subprocess.Popen(
                self.stack.argv("up", "--yes", "--skip-preview"),
                cwd=self.stack.project,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                poll(
                    lambda: log.read_bytes().count(b" created (") >= created or running.poll() is not None, seconds=600
                )
                assert running.poll() is None, f"it ended before it could be killed:\n{log.read_text()[-3000:]}"
            finally:
                running.kill()
                running.wait()
        mine = f"{self.context.directory}/killed-up"
        poll(lambda: not supervise_process.marked(mine), seconds=300)
        self.stack.cancel()


def rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Load a stack's file, change what stands below `config:`, write it."""
    yaml = YAML()
    loaded = yaml.load(file.read_text(encoding="utf-8"))
    change(loaded["config"])
    with file.open("w", encoding="utf-8") as output:
        yaml.dump(loaded, output)


def poll(what: Callable[[], bool], *, seconds: float) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        time.sleep(0.2)


def clients(context: SandboxContext, region: str = REGION) -> inventory.Boto:
    """`clients(context)("ec2")`: a client of the sandbox's AWS."""
    key, secret = environment.sandbox_credentials()
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=region)
    url = supervise.endpoints(context.directory)["aws"]
    make: Callable[..., Any] = session.client
    return lambda service: make(service, endpoint_url=url)


def administrator(context: SandboxContext) -> Client:
    """The cluster as its administrator sees it."""
    loaded, folder = kubeconfig.load(layout(context).kubeconfig.read_text(encoding="utf-8"))
    return Client(kubeconfig.select(loaded, folder))
