"""Faults on order and a count of calls, for tests: `/_sandbox/faults` and `/_sandbox/calls`."""

from __future__ import annotations

from collections import Counter, deque
from enum import StrEnum

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.wire import Call


class Fault(StrEnum):
    """What happens to a call."""

    THROTTLE = "throttle"
    """Refused as too frequent; SDKs back off and try again."""
    ERROR = "error"
    """A 500 before anything was done."""
    LOST_REPLY = "lost-reply"
    """Done, but the connection is cut before the caller learns of it."""


class Faults:
    """Which faults are still due, per `service:Operation`."""

    def __init__(self) -> None:
        self._due: dict[str, deque[Fault]] = {}
        self.calls: Counter[str] = Counter()

    def order(self, service: str, operation: str, fault: Fault, times: int) -> None:
        """The next `times` calls of the operation fail this way, after those ordered before."""
        self._due.setdefault(f"{service}:{operation}", deque()).extend([fault] * times)

    def clear(self) -> None:
        """Forget what is due; counts stay."""
        self._due.clear()

    def due(self) -> dict[str, list[str]]:
        """What is still due."""
        return {name: [str(fault) for fault in faults] for name, faults in self._due.items() if faults}

    def take(self, call: Call) -> Fault | None:
        """Count the call and take the next fault that is due for it."""
        name = f"{call.service}:{call.name}"
        self.calls[name] += 1
        waiting = self._due.get(name)
        return waiting.popleft() if waiting else None


def fault_error(call: Call, fault: Fault) -> AwsError:
    """The error of a fault that happens before the call is served."""
    if fault is Fault.THROTTLE:
        code = {"ec2": "RequestLimitExceeded", "query": "Throttling", "rest-xml": "SlowDown"}
        status = 503 if call.operation.service_model.protocol in ("ec2", "rest-xml") else 400
        name = code.get(str(call.operation.service_model.protocol), "ThrottlingException")
        return AwsError(name, "Rate exceeded (ordered by a test)", status=status)
    return AwsError("InternalFailure", "An internal error occurred (ordered by a test)", status=500)
