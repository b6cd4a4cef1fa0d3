"""The servicer: every failure of a provider reaches the engine in the engine's form, and secrets come back as secrets.

The methods are called as gRPC calls them; only the call's context, which gRPC owns, is a recording one.
"""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
import pytest

from headrace.protocol.messages import errors_pb2, provider_pb2, status_pb2
from headrace.protocol.values import UNKNOWN, Props, Secret, decode, encode
from headrace_sandbox.plugin import provider as api
from headrace_sandbox.plugin.differ import Change, Changes, Kind
from headrace_sandbox.plugin.engine import Engine
from headrace_sandbox.plugin.server import engine_address
from headrace_sandbox.plugin.servicer import Servicer

URN = "urn:pulumi:dev::inference::acme:index:Parent$acme:core:Thing::box"


class Aborted(Exception):
    """What gRPC raises inside abort."""


class Context:
    """Records how a call ended."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.message = ""
        self.trailing: dict[str, Any] = {}

    def set_trailing_metadata(self, metadata: Any) -> None:
        self.trailing = dict(metadata)

    def abort(self, code: grpc.StatusCode, message: str) -> NoReturn:
        self.code, self.message = code, message
        raise Aborted

    def detail(self, kind: Any) -> Any:
        status = status_pb2.Status.FromString(self.trailing["grpc-status-details-bin"])
        found = kind()
        assert status.details[0].Unpack(found)
        return found


class Thing(api.Provider):
    """Creates a thing whose output repeats its inputs; each method fails in the way that the test sets."""

    name = "acme"
    version = "1.2.3"

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__()
        self.fault = fault
        self.seen: Any = None

    def check(self, request: api.CheckRequest) -> api.CheckResult:
        self.seen = request
        if self.fault:
            raise self.fault
        return api.CheckResult(inputs={**request.inputs, "size": 3})

    def diff(self, request: api.DiffRequest) -> api.DiffResult:
        self.seen = request
        if self.fault:
            raise self.fault
        changes: Changes = {("spec", "a.b"): Change(kind=Kind.UPDATE, replace=True)}
        changes[("tags", "x")] = Change(kind=Kind.ADD)
        return api.DiffResult(changes=changes, delete_before_replace=True)

    def create(self, request: api.CreateRequest) -> api.CreateResult:
        self.seen = request
        if self.fault:
            raise self.fault
        return api.CreateResult(id="box-1", state={"password": "hunter2", "arn": UNKNOWN})

    def read(self, request: api.ReadRequest) -> api.ReadResult | None:
        self.seen = request
        return None


def servicer(fault: Exception | None = None) -> tuple[Servicer, Thing]:
    thing = Thing(fault)
    return Servicer(thing, Engine()), thing


def context() -> Any:
    return Context()


def test_a_secret_input_is_a_secret_output() -> None:
    service, thing = servicer()
    request = provider_pb2.CreateRequest(urn=URN, properties=encode({"password": Secret("hunter2")}), preview=True)
    response = service.Create(request, context())
    assert decode(response.properties) == {"password": Secret("hunter2"), "arn": UNKNOWN}
    assert (thing.seen.name, thing.seen.type, thing.seen.preview) == ("box", "acme:core:Thing", True)


def test_check_keeps_secrets_and_hands_over_seed_and_old_inputs() -> None:
    service, thing = servicer()
    request = provider_pb2.CheckRequest(urn=URN, news=encode({"key": Secret("hunter2")}), randomSeed=b"s")
    response = service.Check(request, context())
    assert decode(response.inputs) == {"key": Secret("hunter2"), "size": 3}
    assert (thing.seen.seed, thing.seen.old_inputs, thing.seen.autonaming) == (b"s", None, None)


def test_a_bad_property_becomes_a_check_failure_with_its_path() -> None:
    service, _thing = servicer(api.PropertyFailures(api.Failure(path="spec.size", reason="must be positive")))
    response = service.Check(provider_pb2.CheckRequest(urn=URN), context())
    assert [(f.property, f.reason) for f in response.failures] == [("spec.size", "must be positive")]


def test_a_diff_carries_paths_kinds_and_old_inputs() -> None:
    service, thing = servicer()
    request = provider_pb2.DiffRequest(
        urn=URN,
        id="box-1",
        olds=encode({"o": 1}),
        old_inputs=encode({"i": 1}),
        news=encode({}),
        ignoreChanges=["tags.y"],
    )
    response = service.Diff(request, context())
    kinds = {path: diff.kind for path, diff in response.detailedDiff.items()}
    assert kinds == {
        'spec["a.b"]': provider_pb2.PropertyDiff.UPDATE_REPLACE,
        "tags.x": provider_pb2.PropertyDiff.ADD,
    }
    assert list(response.replaces) == ["spec"]
    assert list(response.diffs) == ["spec", "tags"]
    assert response.deleteBeforeReplace
    assert (thing.seen.old_inputs, thing.seen.old_state, thing.seen.ignore_changes) == ({"i": 1}, {"o": 1}, ("tags.y",))


@pytest.mark.parametrize("fault", [KeyError("hunter2"), api.ProviderError("no connection")])
def test_a_diff_that_fails_never_ends_the_preview_and_tells_no_value(
    fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    service, _thing = servicer(fault)
    response = service.Diff(provider_pb2.DiffRequest(urn=URN), context())
    assert response.changes == provider_pb2.DiffResponse.DIFF_UNKNOWN, "the engine then compares inputs itself"
    told = capsys.readouterr().err
    assert "could not compare this resource" in told
    assert "hunter2" not in told


def test_a_resource_that_exists_but_is_not_ready_keeps_its_id_state_and_reasons() -> None:
    fault = api.InitFailed(id="box-1", state={"password": "hunter2"}, reasons=("no node fits", "key hunter2"))
    service, _thing = servicer(fault)
    call = context()
    request = provider_pb2.CreateRequest(urn=URN, properties=encode({"password": Secret("hunter2")}))
    with pytest.raises(Aborted):
        service.Create(request, call)
    detail = call.detail(provider_pb2.ErrorResourceInitFailed)
    assert (detail.id, list(detail.reasons)) == ("box-1", ["no node fits", "key [secret]"])
    assert decode(detail.properties) == {"password": Secret("hunter2")}


def test_property_failures_outside_check_name_their_paths() -> None:
    service, _thing = servicer(api.PropertyFailures(api.Failure(path="spec.replicas", reason="not a number")))
    call = context()
    with pytest.raises(Aborted):
        service.Create(provider_pb2.CreateRequest(urn=URN), call)
    listed = call.detail(errors_pb2.InputPropertiesError)
    assert [(e.property_path, e.reason) for e in listed.errors] == [("spec.replicas", "not a number")]
    assert call.code == grpc.StatusCode.INVALID_ARGUMENT


def test_a_fault_of_ours_is_one_sentence_for_the_engine_and_hides_secret_inputs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    service, _thing = servicer(ValueError("cannot use hunter2"))
    call = context()
    request = provider_pb2.CreateRequest(urn=URN, properties=encode({"password": Secret("hunter2")}))
    with pytest.raises(Aborted):
        service.Create(request, call)
    assert call.message == "acme: ValueError: cannot use [secret]"
    assert "hunter2" not in capsys.readouterr().err


def test_what_is_gone_is_read_as_an_empty_id_and_an_import_has_nothing_but_the_id() -> None:
    service, thing = servicer()
    response = service.Read(provider_pb2.ReadRequest(urn=URN, id="box-1"), context())
    assert response.id == ""
    assert thing.seen.is_import


def test_cancel_reaches_the_provider() -> None:
    service, thing = servicer()
    service.Cancel(None, context())  # type: ignore[arg-type]  # an Empty carries nothing
    assert thing.cancelled.is_set()


def test_secrets_and_previews_are_agreed_on_in_handshake_and_configure() -> None:
    service, _thing = servicer()
    hand = service.Handshake(provider_pb2.ProviderHandshakeRequest(), context())
    configured = service.Configure(provider_pb2.ConfigureRequest(args=encode({})), context())
    assert hand.accept_secrets
    assert configured.acceptSecrets
    assert configured.supportsPreview


@pytest.mark.parametrize(("argv", "address"), [(["127.0.0.1:99"], "127.0.0.1:99"), (["-v=9", "h:1"], "h:1"), ([], "")])
def test_the_engine_address_is_the_argument_that_is_no_flag(argv: list[str], address: str) -> None:
    assert engine_address(argv) == address


def test_outputs_of_a_provider_are_props() -> None:
    empty: Props = {}
    assert decode(encode(empty)) == {}
