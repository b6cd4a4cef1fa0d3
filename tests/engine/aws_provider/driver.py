"""Drives the provider as the engine does, without the engine: check, create, refresh, import, update, delete."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from headrace.protocol.values import reveal
from headrace_sandbox.aws_provider.provider import AwsProvider
from headrace_sandbox.plugin import provider as api


class Made:
    """One resource that a test created."""

    def __init__(self, driver: Driver, token: str, name: str, inputs: dict[str, Any], result: api.CreateResult) -> None:
        self.driver = driver
        self.token = token
        self.name = name
        self.inputs = inputs
        self.id = result.id
        self.state = reveal(result.state)

    def __getitem__(self, name: str) -> Any:
        return self.state[name]

    @property
    def _who(self) -> dict[str, Any]:
        return self.driver.who(self.token, self.name)

    def check(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """New inputs as the provider completes them."""
        return self.driver.check(self.token, self.name, inputs, old=self.inputs)

    def changes(self, inputs: Mapping[str, Any] | None = None) -> dict[str, bool]:
        """What a preview would show: property -> whether it replaces."""
        wanted = self.check(inputs) if inputs is not None else self.inputs
        request = api.DiffRequest(**self._who, id=self.id, old_inputs=self.inputs, old_state=self.state, inputs=wanted)
        found = self.driver.provider.diff(request).changes or {}
        return {".".join(map(str, path)): change.replace for path, change in found.items()}

    def refresh(self) -> bool:
        """Takes over what AWS has; False if it is gone."""
        request = api.ReadRequest(**self._who, id=self.id, inputs=self.inputs, state=self.state)
        found = self.driver.provider.read(request)
        if found is None:
            return False
        self.inputs, self.state = reveal(found.inputs), reveal(found.state)
        return True

    def imported(self, identity: str | None = None) -> Made:
        """The same resource as an import finds it, by its id alone."""
        request = api.ReadRequest(**self._who, id=identity or self.id, inputs={}, state={})
        found = self.driver.provider.read(request)
        assert found is not None, f"an import does not find {self.token} {identity or self.id}"
        result = api.CreateResult(id=found.id, state=found.state)
        return Made(self.driver, self.token, self.name, reveal(found.inputs), result)

    def update(self, inputs: Mapping[str, Any]) -> None:
        """An update in place."""
        wanted = self.check(inputs)
        request = api.UpdateRequest(
            **self._who, id=self.id, old_inputs=self.inputs, old_state=self.state, inputs=wanted, preview=False
        )
        self.state = reveal(self.driver.provider.update(request))
        self.inputs = wanted

    def delete(self) -> None:
        """Takes it away."""
        request = api.DeleteRequest(**self._who, id=self.id, inputs=self.inputs, state=self.state)
        self.driver.provider.delete(request)


class Driver:
    """A provider configured for a region."""

    def __init__(self, region: str = "us-east-1", **config: Any) -> None:
        self.provider = AwsProvider()
        self.provider.configure({"region": region, **config})
        self.made: list[Made] = []

    @staticmethod
    def who(token: str, name: str) -> dict[str, Any]:
        return {"urn": f"urn:pulumi:test::inference::{token}::{name}", "name": name, "type": token}

    def check(
        self, token: str, name: str, inputs: Mapping[str, Any], old: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Checked inputs; fails the test on a check failure."""
        seed = hashlib.sha256(f"{token}{name}".encode()).digest()
        request = api.CheckRequest(**self.who(token, name), inputs=dict(inputs), old_inputs=old, seed=seed)
        result = self.provider.check(request)
        assert not result.failures, f"{token}: {result.failures}"
        return dict(reveal(result.inputs))

    def failures(self, token: str, inputs: Mapping[str, Any]) -> list[api.Failure]:
        """What check says against the inputs."""
        request = api.CheckRequest(**self.who(token, "x"), inputs=dict(inputs), seed=b"seed")
        return list(self.provider.check(request).failures)

    def create(self, token: str, name: str, inputs: Mapping[str, Any]) -> Made:
        """Check, preview, create."""
        wanted = self.check(token, name, inputs)
        who = self.who(token, name)
        self.provider.create(api.CreateRequest(**who, inputs=wanted, preview=True))
        result = self.provider.create(api.CreateRequest(**who, inputs=wanted, preview=False))
        made = Made(self, token, name, wanted, result)
        self.made.append(made)
        return made

    def close(self) -> None:
        """Deletes what is left, last first."""
        while self.made:
            self.made.pop().delete()
