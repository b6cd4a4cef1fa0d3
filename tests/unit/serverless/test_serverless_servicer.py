"""The plugin's protocol: what the engine gets for each way a call can end, and what a start costs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any, ClassVar

import grpc
import pytest

from headrace.protocol import values
from headrace.protocol.messages import provider_pb2, status_pb2
from headrace.protocol.values import UNKNOWN, Props, Secret
from headrace_components.provider.components import Components
from headrace_components.provider.fields import Field, Kind
from headrace_components.provider.resource import Call, Cancelled, Live, NotReady, ProviderError, ResourceType
from headrace_components.provider.servicer import Servicer

URN = "urn:pulumi:s::p::test:index:Thing::thing"
TOKEN = "test:index:Thing"


class Aborted(Exception):
    """What grpc's context raises."""


class Context:
    """Records how a call was aborted."""

    code: grpc.StatusCode | None = None
    message = ""
    metadata: tuple[tuple[str, bytes], ...] = ()

    async def abort(self, code: grpc.StatusCode, message: str, metadata: Any = ()) -> None:
        self.code, self.message, self.metadata = code, message, metadata
        raise Aborted


class Thing(ResourceType):
    """A resource whose every call does what the test says."""

    urn_type = TOKEN
    description = "A thing."
    fields: ClassVar = {
        "name": Field(kind=Kind.STRING, description="Name."),
        "size": Field(kind=Kind.INTEGER, description="Size.", default=1, minimum=1),
        "place": Field(kind=Kind.STRING, description="Place.", replace=True),
        "key": Field(kind=Kind.STRING, description="Key.", secret=True),
    }
    outputs: ClassVar = {"made": Field(kind=Kind.STRING, description="When.")}

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.live: Live | None = None

    def _answer(self, inputs: Props) -> Live:
        if self.error is not None:
            raise self.error
        return self.live or Live(id="t1", inputs={**inputs}, outputs={"made": "now"})

    async def create(self, call: Call, inputs: Props) -> Live:
        return self._answer(inputs)

    async def read(self, call: Call, id: str, state: Props) -> Live | None:
        return self._answer(state)

    async def update(self, call: Call, id: str, old: Props, new: Props) -> Live:
        return self._answer(new)

    async def delete(self, call: Call, id: str) -> None:
        self._answer({})

    def differ(self, old: Props, new: Props, changed: Any) -> Any:
        if self.error is not None:
            raise self.error
        return changed


@pytest.fixture
def thing() -> Thing:
    return Thing()


@pytest.fixture
def servicer(thing: Thing) -> Servicer:
    resources = {TOKEN: thing}
    return Servicer(
        version="0.1.0",
        resources=resources,
        functions={},
        components=Components("0.1.0", resources, {}),
        engine_address="",
    )


def check_request(news: Props, olds: Props | None = None) -> provider_pb2.CheckRequest:
    return provider_pb2.CheckRequest(urn=URN, type=TOKEN, news=values.encode(news), olds=values.encode(olds or {}))


async def test_check_fills_defaults_names_the_resource_and_keeps_secrets(servicer: Servicer) -> None:
    answer = await servicer.Check(check_request({"key": "abcdef", "place": UNKNOWN}), Context())
    inputs = values.decode(answer.inputs)
    assert not answer.failures
    assert inputs["size"] == 1
    assert inputs["name"].startswith("thing-")
    assert inputs["key"] == Secret("abcdef"), "a secret property is secret although the program forgot to say so"
    assert inputs["place"] is UNKNOWN


async def test_check_names_the_property_and_the_reason(servicer: Servicer) -> None:
    answer = await servicer.Check(check_request({"size": 0, "colour": "red"}), Context())
    assert {one.property for one in answer.failures} == {"size", "colour"}


async def test_a_diff_says_in_place_or_replace_and_never_fails(servicer: Servicer, thing: Thing) -> None:
    def request(old: Props, new: Props) -> provider_pb2.DiffRequest:
        return provider_pb2.DiffRequest(
            urn=URN, type=TOKEN, old_inputs=values.encode(old), news=values.encode(new), ignoreChanges=["size"]
        )

    base = {"name": "n", "size": 1, "place": "a"}
    same = await servicer.Diff(request(base, {**base, "size": 2}), Context())
    assert same.changes == provider_pb2.DiffResponse.DIFF_NONE, "ignoreChanges is heeded"
    moved = await servicer.Diff(request(base, {**base, "place": "b"}), Context())
    assert list(moved.replaces) == ["place"]
    assert moved.deleteBeforeReplace, "two things of one name could not be told apart"
    thing.error = RuntimeError("a fault of ours")
    assert (await servicer.Diff(request(base, base), Context())).changes == provider_pb2.DiffResponse.DIFF_UNKNOWN


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProviderError("the vendor said no to abcdef"), grpc.StatusCode.UNKNOWN),
        (Cancelled(), grpc.StatusCode.UNKNOWN),
        (KeyError("abcdef"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_a_failure_is_one_sentence_without_the_secret(
    servicer: Servicer, thing: Thing, error: Exception, code: grpc.StatusCode, capfd: pytest.CaptureFixture[str]
) -> None:
    thing.error = error
    context = Context()
    request = provider_pb2.CreateRequest(urn=URN, type=TOKEN, properties=values.encode({"key": Secret("abcdef")}))
    with pytest.raises(Aborted):
        await servicer.Create(request, context)
    assert context.code is code
    assert "abcdef" not in context.message + capfd.readouterr().err
    assert "Traceback" not in context.message


async def test_what_exists_but_is_not_ready_is_kept_with_its_id(servicer: Servicer, thing: Thing) -> None:
    thing.error = NotReady(Live(id="t9", inputs={"size": 3}), "the second step failed")
    context = Context()
    with pytest.raises(Aborted):
        await servicer.Create(provider_pb2.CreateRequest(urn=URN, type=TOKEN, properties=values.encode({})), context)
    status = status_pb2.Status.FromString(dict(context.metadata)["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    assert (detail.id, list(detail.reasons)) == ("t9", ["the second step failed"])


async def test_a_preview_makes_nothing_and_its_outputs_are_unknown(servicer: Servicer, thing: Thing) -> None:
    thing.error = AssertionError("create must not be called in a preview")
    request = provider_pb2.CreateRequest(urn=URN, type=TOKEN, properties=values.encode({"size": 2}), preview=True)
    state = values.decode((await servicer.Create(request, Context())).properties)
    assert state == {"size": 2, "made": UNKNOWN}


async def test_a_read_keeps_what_was_secret_and_shows_what_drifted(servicer: Servicer, thing: Thing) -> None:
    thing.live = Live(id="t1", inputs={"size": 7, "key": "abcdef"}, outputs={"made": "now"})
    old = {"size": 1, "key": Secret("abcdef")}
    request = provider_pb2.ReadRequest(
        urn=URN, type=TOKEN, id="t1", inputs=values.encode(old), properties=values.encode(old)
    )
    answer = await servicer.Read(request, Context())
    assert values.decode(answer.inputs) == {"size": 7, "key": Secret("abcdef")}


async def test_a_new_key_replaces_nothing(servicer: Servicer) -> None:
    request = provider_pb2.DiffRequest(
        old_inputs=values.encode({"runpodApiKey": Secret("one")}), news=values.encode({"runpodApiKey": Secret("two")})
    )
    answer = await servicer.DiffConfig(request, Context())
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert list(answer.replaces) == []


async def test_a_missing_key_is_told_with_the_way_to_set_it(
    servicer: Servicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(ProviderError, match="pulumi config set --secret headrace:runpodApiKey"):
        servicer._vendors.runpod()


async def test_a_key_that_a_preview_cannot_know_is_not_taken_from_the_environment(
    servicer: Servicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "key-of-another-account")
    request = provider_pb2.ConfigureRequest(args=values.encode({"runpodApiKey": Secret(UNKNOWN)}))
    await servicer.Configure(request, Context())
    with pytest.raises(ProviderError, match="not known before another resource exists"):
        servicer._vendors.runpod()


async def test_an_asset_is_refused_like_any_other_wrong_type(servicer: Servicer) -> None:
    asset = values.Asset({"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17", "text": "x"})
    answer = await servicer.Check(check_request({"place": asset}), Context())
    assert {one.property for one in answer.failures} == {"place"}


async def test_cancel_reaches_a_waiting_call(servicer: Servicer) -> None:
    call = servicer._call(provider_pb2.CreateRequest(urn=URN, type=TOKEN), None, {})
    waiting = asyncio.create_task(call.sleep(60))
    await asyncio.sleep(0)
    await servicer.Cancel(None, Context())
    with pytest.raises(Cancelled):
        await asyncio.wait_for(waiting, 60)


def test_the_plugin_starts_without_any_sdk() -> None:
    code = (
        "import sys, headrace_components.provider.main; "
        "print([m for m in ('modal', 'runpod', 'httpx', 'pulumi', 'pulumi_aws', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", "a preview without serverless resources must not pay for the SDKs"
