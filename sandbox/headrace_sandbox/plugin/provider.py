"""What a provider implements. The engine's words: *inputs* are what the program asked for (after check), *state* (or
outputs) is what the provider returned last."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from headrace.protocol.values import Props
from headrace_sandbox.plugin import paths
from headrace_sandbox.plugin.differ import Change, difference


class Severity(Enum):
    """How the engine shows a line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Log(Protocol):
    """A line for the person at the terminal. `ephemeral` lines replace one another in the resource's status."""

    def __call__(
        self, message: str, *, urn: str = "", severity: Severity = Severity.INFO, ephemeral: bool = False
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An input that is not acceptable: where (a property path in the engine's form, or "") and why."""

    path: str
    reason: str


class PropertyFailures(Exception):
    """Bad inputs found outside check (an API's dry run, for example). In check and invoke they become check failures;
    elsewhere the call fails with one line per property."""

    def __init__(self, *failures: Failure) -> None:
        super().__init__("; ".join(f"{f.path}: {f.reason}" if f.path else f.reason for f in failures))
        self.failures = failures


class ProviderError(Exception):
    """The call failed for a reason that a person can read as it stands. It must never hold a credential."""


class InitFailed(Exception):
    """The resource exists but did not become ready. The engine keeps it in the state as partly created, with `reasons`
    for the person, and updates it at the next run. `inputs` only matters to read."""

    def __init__(self, *, id: str, state: Props, reasons: tuple[str, ...], inputs: Props | None = None) -> None:
        super().__init__("; ".join(reasons))
        self.id = id
        self.state = state
        self.reasons = reasons
        self.inputs = inputs


@dataclass(frozen=True, kw_only=True)
class Autonaming:
    """The stack's naming configuration: `mode` is propose, enforce or disable."""

    proposed_name: str
    mode: str


@dataclass(frozen=True, kw_only=True)
class Resource:
    """Which resource a call is about. `type` is the token, `name` the last part of the URN."""

    urn: str
    name: str
    type: str


@dataclass(frozen=True, kw_only=True)
class CheckRequest(Resource):
    """`old_inputs` is None at the first check. `seed` is the engine's stable random seed for this resource."""

    inputs: Props
    old_inputs: Props | None = None
    seed: bytes = b""
    autonaming: Autonaming | None = None


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The inputs with defaults filled in, and what is wrong with them."""

    inputs: Props
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DiffRequest(Resource):
    """`inputs` are the new, checked inputs."""

    id: str
    old_inputs: Props
    old_state: Props
    inputs: Props
    ignore_changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DiffResult:
    """`changes` is None where the provider can't tell and the engine must compare the inputs itself."""

    changes: Mapping[paths.Path, Change] | None
    delete_before_replace: bool = False
    stables: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CreateRequest(Resource):
    """`timeout_s` is None where the program set no custom timeout. In a preview nothing may be created."""

    inputs: Props
    preview: bool
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class CreateResult:
    """`id` is "" in a preview where it can't be known."""

    id: str
    state: Props


@dataclass(frozen=True, kw_only=True)
class ReadRequest(Resource):
    """A refresh has `inputs` and `state`; an import or a `.get()` has neither (both empty)."""

    id: str
    inputs: Props
    state: Props
    timeout_s: float | None = None

    @property
    def is_import(self) -> bool:
        """Whether there is nothing but the id to go by."""
        return not self.inputs and not self.state


@dataclass(frozen=True, kw_only=True)
class ReadResult:
    """What lives, and the inputs that would have made it."""

    id: str
    inputs: Props
    state: Props


@dataclass(frozen=True, kw_only=True)
class UpdateRequest(Resource):
    """As create, with what was there before."""

    id: str
    old_inputs: Props
    old_state: Props
    inputs: Props
    preview: bool
    ignore_changes: tuple[str, ...] = ()
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class DeleteRequest(Resource):
    """What to delete. Absent is success."""

    id: str
    inputs: Props
    state: Props
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class InvokeRequest:
    """A provider function call."""

    token: str
    args: Props
    preview: bool


@dataclass(frozen=True, kw_only=True)
class InvokeResult:
    """What the function returned, or what is wrong with its arguments."""

    result: Props = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()


class Provider:
    """Base class with the behaviour of a provider that accepts any input. Calls come from many threads at once.

    `log` and `cancelled` are set by the server before the first call. Long operations look at `cancelled` and give up
    with `InitFailed` or `ProviderError` when it is set.
    """

    name = "provider"
    version = "0.0.0"

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.log: Log = _no_log

    def schema(self) -> str:
        """The package schema as JSON, or "{}": our providers serve the official SDKs, which carry their own."""
        return "{}"

    def check_config(self, request: CheckRequest) -> CheckResult:
        """Validate the provider's own configuration. Values are JSON text unless they are strings."""
        return CheckResult(inputs=request.inputs)

    def diff_config(self, request: DiffRequest) -> DiffResult:
        """Compare provider configuration; a change that needs a replacement replaces every resource of the provider."""
        return DiffResult(changes=difference(request.old_inputs, request.inputs, ignore=request.ignore_changes))

    def configure(self, config: Props) -> None:
        """Take the configuration over. Called once, before any resource, never with unknown values."""

    def check(self, request: CheckRequest) -> CheckResult:
        """Validate and complete inputs. Pure: it may not change the cloud."""
        return CheckResult(inputs=request.inputs)

    def diff(self, request: DiffRequest) -> DiffResult:
        """What would change."""
        return DiffResult(changes=difference(request.old_inputs, request.inputs, ignore=request.ignore_changes))

    def create(self, request: CreateRequest) -> CreateResult:
        """Make it."""
        raise ProviderError(f"{self.name} cannot create a {request.type}")

    def read(self, request: ReadRequest) -> ReadResult | None:
        """What lives under the id; None if nothing does."""
        raise ProviderError(f"{self.name} cannot read a {request.type}")

    def update(self, request: UpdateRequest) -> Props:
        """Change it in place; the new state."""
        raise ProviderError(f"{self.name} cannot update a {request.type}")

    def delete(self, request: DeleteRequest) -> None:
        """Remove it and wait until it is gone."""
        raise ProviderError(f"{self.name} cannot delete a {request.type}")

    def invoke(self, request: InvokeRequest) -> InvokeResult:
        """Answer a provider function."""
        raise ProviderError(f"{self.name} has no function {request.token}")

    def cancel(self) -> None:
        """The engine wants to stop: long waits end soon. Overriders call the base."""
        self.cancelled.set()


def _no_log(message: str, *, urn: str = "", severity: Severity = Severity.INFO, ephemeral: bool = False) -> None:
    """Before an engine is attached there is nobody to tell."""
