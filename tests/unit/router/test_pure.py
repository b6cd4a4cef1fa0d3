"""Purity of the decision, and its small parts: classification, usage, streams, callers, shares, signals, render."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.catalog.load import allowed_jurisdictions
from headrace.catalog.price import price_book
from headrace.errors import Refused
from headrace.router import budget
from headrace.router.calendar import Calendar, min_instances
from headrace.router.callers import MOST_CALLERS, Callers, fingerprint
from headrace.router.classify import HEADER_CONVERSATION, Caller, Parsed, classify, infer_class
from headrace.router.config import CallerBreaker, RouterConfig, from_json, to_json
from headrace.router.decide import decide
from headrace.router.keys import authenticate, digest, load_keys
from headrace.router.render import Deployed, render
from headrace.router.sse import StreamFilter
from headrace.router.types import NANO, Refusal, Route, Window
from headrace.router.upstream import Signals, read_signals
from headrace.router.usage import Usage, UsageReader
from headrace.settings.load import from_stack_file
from headrace.settings.releases import WorkloadClass
from headrace.settings.router import BreakerSettings, CallerBreakerSettings, SpillSettings
from headrace.settings.serverless import ServerlessProvider
from tests.unit.router.worlds import config, document, overflow, pool, state

ROOT = Path(__file__).resolve().parents[3]
PURE = (
    *("router/types", "router/config", "router/budget", "router/capacity", "router/decide", "router/events"),
    *("router/observe", "router/classify", "router/usage", "router/sse", "router/lease", "router/callers"),
    *("router/notes", "router/prompt"),
    *("router/render", "router/keys", "audit/record", "audit/chain", "audit/ledger"),
)
FORBIDDEN = {"asyncio", "time", "random", "logging", "os", "httpx", "aiohttp", "redis", "pulumi", "socket", "secrets"}


def imports(module: str, seen: set[str]) -> set[str]:
    """Modules that a module of ours imports, through others of ours too."""
    if module in seen:
        return set()
    seen.add(module)
    base = ROOT / Path(*module.split("."))
    path = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            own = ROOT / Path(*name.split("."))
            if not name.startswith("headrace."):
                found.add(name)
            elif own.with_suffix(".py").exists() or (own / "__init__.py").exists():
                found |= imports(name, seen)
    return found


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_reach_no_clock_and_no_network(module: str) -> None:
    reached = {name.split(".")[0] for name in imports("headrace." + module.replace("/", "."), set())}
    assert not reached & FORBIDDEN, f"headrace/{module}.py reaches {sorted(reached & FORBIDDEN)}"


CALLER = Caller(key_id="k1", tenant="search", project="assistant", environment="test")


def classified(body: Any, headers: dict[str, str] | None = None, **over: Any) -> Parsed | Refusal:
    return classify(
        request_id="q1",
        endpoint=over.get("endpoint", "chat.completions"),
        headers=headers or {},
        body=body,
        caller=over.get("caller", CALLER),
        policy=over.get("policy") or config(),
        residencies={"EU": allowed_jurisdictions(["EU"]), "US": allowed_jurisdictions(["US"])},
    )


def chat(**over: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": "hello there"}], **over}


def test_header_key_and_model_declare_the_class_in_this_order() -> None:
    by_key = Caller(**{**vars_of(CALLER), "workload_class": WorkloadClass.BATCH})
    found = [
        classified(chat()),
        classified(chat(), caller=by_key),
        classified(chat(), {"x-headrace-class": "memory-bound"}, caller=by_key),
    ]
    classes = [one.facts.workload_class for one in found if isinstance(one, Parsed)]
    assert classes == [WorkloadClass.LATENCY_SENSITIVE, WorkloadClass.BATCH, WorkloadClass.MEMORY_BOUND]


def vars_of(caller: Caller) -> dict[str, Any]:
    return {name: getattr(caller, name) for name in Caller.__slots__}


def test_what_declares_nothing_is_inferred() -> None:
    assert infer_class(9000, None, stream=True, endpoint="chat.completions") is WorkloadClass.MEMORY_BOUND
    assert infer_class(10, 10, stream=False, endpoint="chat.completions") is WorkloadClass.LATENCY_SENSITIVE
    assert infer_class(10, 10, stream=False, endpoint="embeddings") is WorkloadClass.BATCH
    found = classified({"input": "x"}, endpoint="embeddings")
    assert isinstance(found, Parsed)
    assert found.facts.workload == "digest"


def test_a_conversation_stays_where_it_began() -> None:
    first = classified(chat(messages=[{"role": "user", "content": "a"}]))
    later = classified(
        chat(messages=[{"role": "user", "content": "a"}, {"role": "assistant"}, {"role": "user", "content": "b"}])
    )
    assert isinstance(first, Parsed)
    assert isinstance(later, Parsed)
    assert first.facts.bucket == later.facts.bucket


TEMPLATE = "Answer by the rules of the house. " * 100


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat.completions", lambda text: chat(messages=[{"role": "user", "content": TEMPLATE + text}])),
        ("chat.completions", lambda text: chat(messages=[{"role": "system", "content": text}])),
        ("chat.completions", lambda text: chat(user="https://directory.example.com/people/" + "0" * 300 + text)),
        ("completions", lambda text: {"model": "chat", "prompt": text, "messages": [1]}),
        ("completions", lambda text: {"model": "chat", "prompt": [TEMPLATE + text, "b"]}),
        ("embeddings", lambda text: {"model": "digest", "input": [text]}),
    ],
)
def test_a_share_of_conversations_is_that_share_of_any_traffic(endpoint: str, body: Callable[[str], Any]) -> None:
    found = [classified(body(str(at)), endpoint=endpoint) for at in range(400)]
    buckets = [one.facts.bucket for one in found if isinstance(one, Parsed)]
    assert len(buckets) == 400
    assert 0.05 < sum(bucket < 10 for bucket in buckets) / 400 < 0.17, (
        "a canary of 10 % gets about 10 %, not all or none"
    )


def test_ids_of_conversations_that_begin_alike_are_two_conversations() -> None:
    one, two, again = (
        classified(chat(), {HEADER_CONVERSATION: "urn:conversation:" + "0" * 60 + end}) for end in ("1", "2", "1")
    )
    assert isinstance(one, Parsed)
    assert isinstance(two, Parsed)
    assert isinstance(again, Parsed)
    assert one.conversation == again.conversation != two.conversation


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({"model": 3}, 400),
        (chat(messages=[]), 400),
        (chat(messages="x"), 400),
        (chat(max_tokens=-1), 400),
        (chat(max_tokens=True), 400),
        (chat(n=0), 400),
        (chat(stream="yes"), 400),
        (chat(model="gpt-9"), 404),
    ],
)
def test_malformed_requests_are_refused_in_words(body: Any, status: int) -> None:
    found = classified(body)
    assert isinstance(found, Refusal)
    assert found.status == status


def test_a_residency_header_narrows_and_an_unknown_one_is_refused() -> None:
    assert isinstance(classified(chat(), {"x-headrace-residency": "MARS"}), Refusal)
    found = classified(chat(), {"x-headrace-residency": "US"})
    assert isinstance(found, Parsed)
    policy = config()
    assert isinstance(decide(found.facts, state(policy), policy), Refusal), "EU pools are outside what was asked"


def test_a_key_reaches_only_its_workloads() -> None:
    narrow = Caller(**{**vars_of(CALLER), "workloads": frozenset({"digest"})})
    assert isinstance(classified(chat(), caller=narrow), Refusal)


def test_keys_are_found_by_their_hash_and_the_file_is_checked() -> None:
    policy = config()
    entry = {"id": "k1", "sha256": digest("hr_k1_secret"), "tenant": "search", "project": "assistant"}
    keys = load_keys(json.dumps({"version": 1, "keys": [entry]}), policy)
    assert authenticate("Bearer hr_k1_secret", keys) is not None
    for wrong in (None, "", "Bearer", "Bearer x", "Basic hr_k1_secret", "Bearer " + "x" * 1000):
        assert authenticate(wrong, keys) is None
    for change in ({"tenant": "nobody"}, {"sha256": "x"}, {"workloads": ["nothing"]}):
        with pytest.raises(Refused):
            load_keys(json.dumps({"version": 1, "keys": [{**entry, **change}]}), policy)
    off = load_keys(json.dumps({"version": 1, "keys": [{**entry, "disabled": True}]}), policy)
    assert not off


@given(
    cuts=st.lists(st.integers(1, 40), max_size=30),
    drop=st.booleans(),
)
def test_a_stream_is_the_same_however_it_is_cut(cuts: list[int], drop: bool) -> None:
    events = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'] * 3
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'
    data = b"".join(events) + usage + b"data: [DONE]\n\n"
    reader, passing, out, rest = UsageReader(stream=True, prompt_estimate=1), StreamFilter(drop_usage=drop), b"", data
    for size in [*cuts, len(data)]:
        chunk, rest = rest[:size], rest[size:]
        reader.feed(chunk)
        out += passing.feed(chunk)
    reader.finish()
    assert reader.usage == Usage(prompt=7, completion=3, exact=True)
    assert reader.done
    assert out + passing.rest() == (data.replace(usage, b"") if drop else data)


@given(cuts=st.lists(st.integers(1, 60), max_size=30))
def test_content_events_are_counted_the_same_however_they_are_cut(cuts: list[int]) -> None:
    events = [
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b": a comment\n\n",
        b'data: {"choices":[{"delta":{"content":"data: not one"}}]}\n\n',
        b'event: ping\ndata: {"choices":[{"delta":{}}]}\n\n',
        b'data: {"choices":[],"x":1}\n\n',
    ]
    rest = b"".join(events) * 2
    reader = UsageReader(stream=True, prompt_estimate=1)
    for size in [*cuts, len(rest)]:
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.finish()
    assert reader.usage.completion == 6


def test_a_stream_without_usage_is_counted() -> None:
    reader = UsageReader(stream=True, prompt_estimate=11)
    reader.feed(b'data: {"choices":[{}]}\n\n' * 5)
    reader.finish()
    assert reader.usage == Usage(prompt=11, completion=5)
    assert not reader.done


def test_a_loop_is_found_though_its_counter_changes() -> None:
    same = {fingerprint("chat", text) for text in (b"Step 1: retry", b"step 22:  RETRY", b"step 3: retry\n")}
    assert len(same) == 1
    assert fingerprint("chat", b"another") not in same
    callers = Callers(CallerBreaker(repeats=3, window_s=10, open_s=5))
    answers = [callers.admit("k", same.copy().pop(), float(at)) for at in range(5)]
    assert [answer is None for answer in answers] == [True, True, True, False, False]
    assert callers.admit("k", same.copy().pop(), 9.0) is None, "it closes by itself"
    for number in range(MOST_CALLERS + 50):
        callers.admit(f"k{number}", b"x", 10.0)
    assert len(callers) <= MOST_CALLERS, "memory is bounded"


def test_a_retry_storm_opens_the_breaker_of_its_caller_only() -> None:
    callers = Callers(CallerBreaker(retries=3))
    for at in range(3):
        callers.failed("k", float(at))
    assert callers.admit("k", b"new", 4.0) is not None
    assert callers.admit("other", b"new", 4.0) is None


@given(events=st.lists(st.tuples(st.floats(0, 200), st.integers(1, 50)), max_size=40), after=st.floats(0, 100))
def test_a_window_counts_at_least_the_last_minute(events: list[tuple[float, int]], after: float) -> None:
    window, now = Window(), 0.0
    placed = []
    for step, amount in events:
        now += step / 10
        window = budget.add(window, now, amount)
        placed.append((now, amount))
    now += after
    counted = budget.count(window, now)
    assert counted >= sum(amount for at, amount in placed if at > now - 60)
    assert counted <= sum(amount for at, amount in placed if at > now - 66)


def test_a_correction_never_hides_somebody_elses_use() -> None:
    def used() -> Window:
        return budget.add(budget.add(Window(), 1.0, 1000), 31.0, 10)

    corrected = budget.correct(used(), 1.0, 31.0, -900)
    assert budget.count(corrected, 31.0) == 110
    assert budget.count(corrected, 70.0) == 10
    late = budget.correct(used(), 1.0, 100.0, -900)
    assert late == budget.add(used(), 100.0, 0), "a bucket that has left the window is corrected nowhere else"
    assert late.total == sum(late.counts)


def test_signals_of_vllm_are_read_and_nonsense_is_unknown() -> None:
    text = b'vllm:num_requests_waiting{model_name="m"} 2.0\nvllm:kv_cache_usage_perc{model_name="m"} 0.25\n'
    assert read_signals(text) == Signals(queue=2, kv_use=0.25, servers=1)
    two = text.replace(b'"m"', b'"m",engine="0"') + b'vllm:num_requests_waiting{model_name="m",engine="1"} 1.0\n'
    assert read_signals(two) == Signals(queue=3, kv_use=0.25, servers=2), "each engine has a line of its own"
    assert read_signals(text.replace(b"0.25", b"NaN")) is None
    assert read_signals(b"<html>") is None


def test_the_configuration_survives_its_file_and_a_wrong_one_is_refused() -> None:
    policy = config()
    assert from_json(to_json(policy)) == policy
    assert from_json(to_json(policy)).policy_version == policy.policy_version
    for change in (
        {"version": 2},
        {"colour": "red"},
        {"pools": {"floor": pool(workload="nothing")}},
        {"pools": {"floor": pool(url="file:///etc/passwd")}},
        {"spill": {**document()["spill"], "stopAt": 0.9}},
    ):
        with pytest.raises(Refused):
            config(**change)
    with pytest.raises(Refused):
        from_json("[" * 100_000)


def rendered(name: str, served: tuple[str, ...]) -> RouterConfig:
    deployed = {one: Deployed(url=f"http://{one}.pools.svc:8000/v1") for one in served}
    settings = from_stack_file(ROOT / "stacks" / f"Pulumi.{name}.yaml")
    return render(settings, deployed, prices=price_book(), day=date(2026, 11, 21))


def test_the_configuration_of_a_stack_agrees_with_its_settings() -> None:
    policy = rendered("sandbox", ("chat-floor", "digest-floor"))
    floor = policy.pools["chat-floor"]
    assert (floor.instances, floor.slots_per_instance, floor.gpu) == (4, 16, "L4")
    assert floor.compute_jurisdictions == {"EU"}
    assert floor.nano_usd_per_instance_second == 399_604, (
        "a quarter of a g6.12xlarge in eu-central-1: 5.75429 $ an hour / 4 replicas / 3600 s, rounded up"
    )
    assert floor.max_request_tokens == 16384
    assert policy.limits.budget_nano_usd == 15_000 * NANO
    facts = classified(chat(max_tokens=50), policy=policy)
    assert isinstance(facts, Parsed)
    decision = decide(facts.facts, state(policy), policy)
    assert isinstance(decision, Route)
    assert decision.pool == "chat-floor"
    with pytest.raises(Refused):
        rendered("sandbox", ("nothing",))


def test_a_machine_without_a_price_is_refused_by_its_name() -> None:
    settings = from_stack_file(ROOT / "stacks" / "Pulumi.sandbox.yaml")
    blocks_only = settings.dedicated_pools["chat-floor"].model_copy(update={"instance_type": "p5e.48xlarge"})
    changed = settings.model_copy(update={"dedicated_pools": {**settings.dedicated_pools, "chat-floor": blocks_only}})
    served = {"chat-floor": Deployed(url="http://127.0.0.1:9/v1")}
    with pytest.raises(Refused, match=r"dedicatedPools.chat-floor.instanceType is 'p5e.48xlarge': .* on-demand price"):
        render(changed, served, prices=price_book(), day=date(2026, 11, 21))


def test_breakers_spill_and_checkpoints_are_what_the_settings_say() -> None:
    settings = from_stack_file(ROOT / "stacks" / "Pulumi.sandbox.yaml")
    router = settings.router.model_copy(
        update={
            "breaker": BreakerSettings(failures_in_a_row=2, failure_percent=25),
            "caller_breaker": CallerBreakerSettings(repeats=7, open_s=3),
            "spill": SpillSettings(start_ahead=False),
        }
    )
    policy = render(settings.model_copy(update={"router": router}), {}, prices=price_book(), day=date(2026, 11, 21))
    assert (policy.breaker.failures_in_a_row, policy.breaker.failure_share) == (2, 0.25)
    assert (policy.caller_breaker.repeats, policy.caller_breaker.open_s) == (7, 3)
    assert not policy.spill.start_ahead
    assert rendered("sandbox", ("chat-floor", "digest-floor")).spill.start_ahead, "unless somebody turns it off"
    assert policy.audit.retention_days == settings.audit.retention_days
    assert policy.audit.checkpoint_interval_s == settings.audit.checkpoint_interval_s


def test_no_setting_brings_the_ingress_of_runpod_into_the_union() -> None:
    settings = from_stack_file(ROOT / "stacks" / "Pulumi.sandbox.yaml")
    for name, pool_ in settings.serverless_pools.items():
        if pool_.provider is ServerlessProvider.RUNPOD:
            claimed = pool_.model_copy(update={"ingress_region": "eu-west"})
            changed = settings.model_copy(update={"serverless_pools": {**settings.serverless_pools, name: claimed}})
            served = {name: Deployed(url="http://127.0.0.1:9/v1")}
            policy = render(changed, served, prices=price_book(), day=date(2026, 11, 21))
            assert policy.pools[name].ingress_jurisdictions == {"US"}
            return
    pytest.fail("the sandbox has no pool on RunPod: this test tests nothing")


def test_warm_up_windows_are_known_in_their_own_time_zone() -> None:
    policy = config(pools={"burst": overflow(warmUp=[{"hours": [9], "minInstances": 2, "timeZone": "Europe/Berlin"}])})
    assert min_instances(policy, datetime(2026, 11, 23, 8, 30, tzinfo=UTC)) == {"burst": 2}, "Monday, 9:30 in Berlin"
    assert min_instances(policy, datetime(2026, 11, 23, 9, 30, tzinfo=UTC)) == {"burst": 0}


def test_a_jump_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    calendar = Calendar(lambda: now)
    before = calendar.now_us()
    monkeypatch.setattr("time.time", lambda: 0.0)
    now = 101.0
    assert calendar.now_us() - before == 1_000_000
