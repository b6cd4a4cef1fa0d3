"""Check: what the program gave, completed, and everything that is wrong with it, before anything is sent."""

from __future__ import annotations

from typing import Any

from botocore.validate import ParamValidator

from headrace.protocol.values import Secret, reveal
from headrace_sandbox.aws_provider import requests
from headrace_sandbox.aws_provider.context import Aws
from headrace_sandbox.aws_provider.mapping import NoMember
from headrace_sandbox.aws_provider.naming import named
from headrace_sandbox.aws_provider.sdk import check_inputs, declaration
from headrace_sandbox.aws_provider.spec import ResourceType, State
from headrace_sandbox.aws_provider.values import is_empty
from headrace_sandbox.plugin.provider import CheckRequest, CheckResult, Failure


def check(aws: Aws, spec: ResourceType, request: CheckRequest) -> CheckResult:
    """Inputs with coerced values, the official provider's defaults and a name; failures carry property paths."""
    decl = declaration(spec.type)
    inputs, failures = check_inputs(decl, reveal(request.inputs))
    for name in sorted(spec.refused & inputs.keys()):
        if not is_empty(inputs[name]):
            failures.append(Failure(path=name, reason="not supported by the sandbox's AWS provider"))
    for name, value in spec.defaults.items():
        inputs.setdefault(name, value)
    if spec.name is not None:
        old = reveal(request.old_inputs) if request.old_inputs else None
        inputs = named(spec.name, request.name, inputs, old, seed=request.seed, autonaming=request.autonaming)
    if not failures:
        failures += _dry_request(aws, spec, inputs)
    if not failures and spec.on_check is not None:
        failures += [Failure(path=path, reason=reason) for path, reason in spec.on_check(inputs)]
    for name in decl.secrets & inputs.keys():
        inputs[name] = Secret(inputs[name])
    return CheckResult(inputs=inputs, failures=tuple(failures))


def _dry_request(aws: Aws, spec: ResourceType, inputs: State) -> list[Failure]:
    """Builds the create request as far as it is known and lets botocore's model judge it, so that a preview already
    refuses what AWS could not understand."""
    call = spec.create
    if call is None:
        return []
    shape = aws.input_shape(spec.service, call.op)
    names = requests.carried(spec, call, shape, set(inputs))
    known: dict[str, Any] = _Anything(inputs)
    try:
        params = requests.build(spec, call, shape, known, {n: inputs[n] for n in names}, partial=True)
    except NoMember as lost:
        return [Failure(path=lost.path, reason=f"not supported by the sandbox's AWS provider: {lost}")]
    except (TypeError, ValueError) as wrong:
        return [Failure(path="", reason=str(wrong))]
    report = ParamValidator().validate(_without_unknown(params), shape)
    return [Failure(path="", reason=report.generate_report())] if report.has_errors() else []


class _Anything(dict[str, Any]):
    """Templates of a dry request ask for things that only a real one knows (`{account}`)."""

    def __missing__(self, key: str) -> str:
        return "x" * 12

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]


def _without_unknown(params: Any) -> Any:
    if isinstance(params, dict):
        return {k: _without_unknown(v) for k, v in params.items()}
    if isinstance(params, list):
        return [_without_unknown(v) for v in params]
    return params if isinstance(params, str | int | float | bool | bytes | dict | list) or params is None else "x" * 12
