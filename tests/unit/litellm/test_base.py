"""A team's own LiteLLM configuration under ours: what stays, what is refused, and that no line of theirs is lost."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.cli.main import main
from headrace.cli.router_litellm import litellm
from headrace.errors import Refused
from headrace.router.config import to_json
from headrace.router.litellm import base, base_rules, base_settings
from headrace.router.litellm.model_list import HOOKS, litellm_config
from tests.unit.router.worlds import config

POLICY = config()
OWN = f"{HOOKS}.hooks"
THEIRS = """\
# The platform team's LiteLLM. Ask in #llm before you change it.
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY   # from the vault

litellm_settings:
  # order matters
  callbacks:
    - guards.pii.masker   # first
    - audit.logger
  # costs go to finance
  success_callback: ["langfuse"]
  'num_retries': 0

# models
model_list:
  # the old way to the chat model
  - model_name: chat
    litellm_params:
      model: openai/chat   # vLLM
      api_base: http://vllm.internal:8000/v1
      api_key: none
  # the judge of the guardrails
  - model_name: judge
    litellm_params: {model: openai/judge, api_base: "http://judge.internal:9000/v1", api_key: os.environ/JUDGE_KEY}
# end of models

guardrails:
  - guardrail_name: no-secrets
    litellm_params: {guardrail: guards.secrets.Guard, mode: pre_call, default_on: true}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "theirs.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refusals(folder: Path, text: str, *, keep: tuple[str, ...] = (), callbacks: tuple[str, ...] = ()) -> str:
    with pytest.raises(Refused) as refused:
        base.rendered(config(), written(folder, text), keep, callbacks)
    assert all(one.rule and one.next_step for one in refused.value.problems)
    return str(refused.value)


def test_their_lines_and_comments_stay_in_their_order_and_ours_are_added(tmp_path: Path) -> None:
    merged = base.rendered(config(), written(tmp_path, THEIRS), ("judge",), ("langfuse",))
    ours = litellm_config(config())
    made = yaml.safe_load(merged.text)
    gone = ["  - model_name: chat", "    litellm_params:", "      model: openai/chat   # vLLM"]
    gone += ["      api_base: http://vllm.internal:8000/v1", "      api_key: none"]
    theirs = [line for line in THEIRS.splitlines() if line not in gone]
    lines = iter(merged.text.splitlines())
    assert all(line in lines for line in theirs), f"each line of theirs, in order:\n{merged.text}"
    assert made["litellm_settings"]["callbacks"] == ["guards.pii.masker", "audit.logger", OWN], "ours decides last"
    for section in ("router_settings", "general_settings"):
        assert ours[section].items() <= made[section].items(), "all that we set is set"
    assert made["general_settings"]["master_key"] == "os.environ/LITELLM_MASTER_KEY"
    assert [one["model_name"] for one in made["model_list"]][:2] == ["judge", "floor"]
    assert merged.replaced == ("chat",)
    assert [one["model_name"] for one in merged.kept] == ["judge"]
    assert merged.modules == ("guards.pii.masker", "audit.logger", "guards.secrets.Guard")
    assert merged.guardrails == ("no-secrets",)


def test_what_was_rendered_may_be_the_base_of_the_next_rendering(tmp_path: Path) -> None:
    first = base.rendered(config(), written(tmp_path, THEIRS), ("judge",), ("langfuse",)).text
    other = config(pools={"floor": config().model_dump(by_alias=True, mode="json")["pools"]["floor"]})
    again = base.rendered(config(), written(tmp_path, first), ("judge",), ("langfuse",)).text
    assert yaml.safe_load(again) == yaml.safe_load(first), "nothing is added twice"
    fewer = yaml.safe_load(base.rendered(other, written(tmp_path, first), ("judge",), ("langfuse",)).text)
    assert [one["model_name"] for one in fewer["model_list"]] == ["judge", "floor", "floor:completions"], (
        "pools that are gone leave with the next rendering"
    )


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("router_settings: {fallbacks: [{a: [b]}]}", "router_settings.fallbacks", "retry budget"),
        ("litellm_settings: {default_fallbacks: [a]}", "litellm_settings.default_fallbacks", "elsewhere"),
        ("litellm_settings: {num_retries: 3}", "litellm_settings.num_retries is 3", "repeat"),
        ("router_settings: {retry_policy: {TimeoutErrorRetries: 3}}", "router_settings.retry_policy", "repeat"),
        ("router_settings: {routing_strategy: latency-based-routing}", "routing_strategy", "choose"),
        ("router_settings: {model_group_alias: {a: b}}", "model_group_alias", "choose"),
        ("general_settings: {completion_model: gpt-4}", "completion_model", "choose"),
        ("router_settings: {allowed_fails: 3}", "allowed_fails", "circuit breakers"),
        ("router_settings: {cooldown_time: 30}", "cooldown_time", "circuit breakers"),
        ("general_settings: {background_health_checks: true}", "background_health_checks", "nobody admitted"),
        ("router_settings: {redis_host: redis}", "redis_host", "HEADRACE_REDIS_URL"),
        ("general_settings: {database_url: os.environ/DATABASE_URL}", "database_url", "HEADRACE_POSTGRES_DSN"),
        ("general_settings: {store_model_in_db: true}", "store_model_in_db", "database"),
        ("general_settings: {master_key: sk-1234}", "general_settings.master_key: it must be", "known to all readers"),
        ("general_settings: {master_key: os.environ/OTHER}", "master_key", "os.environ/LITELLM_MASTER_KEY"),
        ("general_settings: {custom_auth: auth.check}", "custom_auth is 'auth.check'", "headrace router key"),
        ("general_settings: {pass_through_endpoints: []}", "pass_through_endpoints", "no decision and no record"),
        ("general_settings: {max_parallel_requests: 5}", "max_parallel_requests", "limits and budgets"),
        ("general_settings: {alerting: [slack]}", "alerting", "request's text"),
        ("litellm_settings: {cache: true}", "litellm_settings.cache is True", "another tenant's"),
        ("litellm_settings: {cache_params: {type: redis}}", "cache_params", "cache"),
        ("litellm_settings: {max_budget: 10}", "max_budget", "limits and budgets"),
        ("litellm_settings: {turn_off_message_logging: false}", "turn_off_message_logging is False", "text"),
        ("litellm_settings: {set_verbose: true}", "set_verbose", "text"),
        ("litellm_settings: {input_callback: [sentry]}", "input_callback", "text"),
        ("litellm_settings: {callbacks: [langfuse]}", "litellm_settings.callbacks is 'langfuse'", "--keep-callback"),
        ("litellm_settings: {success_callback: [s3]}", "litellm_settings.success_callback is 's3'", "jurisdiction"),
        ("litellm_settings: {callbacks: presidio}", "litellm_settings.callbacks is 'presidio'", "guardrails"),
        ("litellm_settings: {failure_callback: [sentry]}", "litellm_settings.failure_callback is 'sentry'", "texts"),
        ("litellm_settings: {callbacks: ['s3://b/m.i']}", "callbacks is 's3://b/m.i'", "beside this file"),
        ("litellm_settings: {callbacks: os.environ/CALLBACKS}", "callbacks is 'os.environ/CALLBACKS'", "beside"),
        ("litellm_settings: {drop_params: true}", "drop_params is True", "as they were sent"),
        ("litellm_settings: {request_timeout: 5}", "request_timeout is 5", "reserved"),
        ("litellm_settings: {aclient_session: x}", "litellm_settings.aclient_session", "is not known"),
        (
            "litellm_settings: {s3_callback_params: {s3_aws_secret_access_key: abc}}",
            "s3_aws_secret_access_key",
            "secret",
        ),
        ("litellm_settings: os.environ/SETTINGS", "litellm_settings", "must be a mapping"),
        ("environment_variables: {A: b}", "environment_variables", "where the router is started"),
        ("credential_list: []", "credential_list", "is not known"),
        ("mcp_servers: {}", "mcp_servers", "run another LiteLLM"),
        ("callback_settings: {otel: {message_logging: true}}", "callback_settings.otel.message_logging", "text"),
        (
            "guardrails: [{guardrail_name: a, litellm_params: {guardrail: g.G, mode: pre_call}}]",
            "default_on",
            "ask for",
        ),
        (
            "guardrails: [{guardrail_name: a, litellm_params: {guardrail: g.G, on_sensitive_data: route}}]",
            "on_sensitive_data",
            "choose",
        ),
        (
            "guardrails: [{guardrail_name: a, litellm_params: {guardrail: aim, api_key: abc, default_on: true}}]",
            "guardrails[0].litellm_params.api_key",
            "os.environ/",
        ),
        ("guardrails: [{guardrail_name: a, litellm_params: {mode: pre_call}}]", "guardrails[0]", "must have"),
        ("model_list: [{model_name: gpt, litellm_params: {model: gpt-4}}]", "model_name is 'gpt'", "--keep-model"),
        ("model_list: [{model_name: '*', litellm_params: {model: '*'}}]", "model_name is '*'", "no residency"),
        ("model_list: [5]", "model_list[0]", "must have"),
        ("[]", "--base", "must be a mapping"),
        ("a: {", "--base", "is not YAML"),
        ("litellm_settings: {cache: false, cache: true}", "--base", "stands twice"),
        ("router_settings: &a {debug_level: INFO}\nlitellm_settings: *a", "router_settings.debug_level", "text"),
    ],
)
def test_what_would_break_a_promise_is_refused_with_its_reason(text: str, path: str, said: str, tmp_path: Path) -> None:
    sentence = refusals(tmp_path, text)
    assert path in sentence and said in sentence, sentence
    assert "sk-1234" not in sentence and "abc" not in sentence, "a secret is not repeated"


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    found = refusals(tmp_path, "litellm_settings: {cache: true, num_retries: 2}\nrouter_settings: {allowed_fails: 1}")
    assert len(found.splitlines()) == 3


@pytest.mark.parametrize(
    ("entry", "keep", "said"),
    [
        ({"api_base": "http://127.0.0.1:9/v1"}, "judge", "is a pool of the router"),
        ({"api_base": "http://floor.pool.invalid/v1"}, "judge", "is a pool of the router"),
        ({"api_base": "os.environ/JUDGE"}, "judge", "names its address"),
        ({"api_base": "http://me:word@judge:1/v1"}, "judge", "names its address"),
        ({}, "judge", "names its address"),
        ({"api_base": "http://judge:1/v1", "api_key": "sk-1"}, "judge", "must not stand in the file"),
        ({"api_base": "http://judge:1/v1", "fallbacks": ["a"]}, "judge", "elsewhere"),
        ({"api_base": "http://judge:1/v1"}, "chat", "can't be kept"),
        ({"api_base": "http://judge:1/v1"}, "floor", "can't be kept"),
        ({"api_base": "http://judge:1/v1"}, "*", "can't be kept"),
    ],
)
def test_a_model_is_kept_by_name_with_a_known_address_and_never_past_the_pools(
    entry: dict[str, Any], keep: str, said: str, tmp_path: Path
) -> None:
    listed = {"model_list": [{"model_name": keep, "litellm_params": {"model": "openai/x", **entry}}]}
    assert said in refusals(tmp_path, yaml.safe_dump(listed), keep=(keep,))


def test_what_is_to_be_kept_must_be_in_the_file(tmp_path: Path) -> None:
    assert "no such model" in refusals(tmp_path, "{}", keep=("judge",))
    assert "--keep-callback is 'langfuse'" in refusals(tmp_path, "{}", callbacks=("langfuse",))
    with pytest.raises(Refused, match="needs --base"):
        base.rendered(config(), None, (), ("langfuse",))
    with pytest.raises(Refused, match="needs --base"):
        base.rendered(config(), None, ("judge",))


def test_every_setting_of_ours_says_why_another_value_is_refused() -> None:
    ours = litellm_config(config())
    for section in ("router_settings", "litellm_settings", "general_settings"):
        for key in ours[section].keys() - {"callbacks"}:
            assert key in base_settings.REASONS, f"{section}.{key} needs a reason"
    assert base_settings.MUST_BE.keys() <= base_settings.REASONS.keys()
    kept = frozenset().union(*base_settings.KEPT.values())
    assert not kept & base_settings.REASONS.keys(), "a setting is kept or refused"


names = st.text("abcdefg-", min_size=1, max_size=6).map(lambda word: f"m{word}.x")
chosen = st.fixed_dictionaries(
    {},
    optional={
        "callbacks": st.lists(names, max_size=3) | names,
        "success_callback": st.lists(st.sampled_from(["langfuse", "a.b"]), max_size=2),
        "json_logs": st.booleans(),
        "num_retries": st.just(0),
        "langfuse_default_tags": st.lists(st.sampled_from(["yes", "on", "#no", "a: b", "1:30", "ä"]), max_size=2),
    },
)
guardrail = names.map(lambda name: {"guardrail": name, "mode": "pre_call", "default_on": True})
JUDGE = {"model_name": "judge", "litellm_params": {"model": "openai/j", "api_base": "http://j:1/v1"}}
CHAT = {"model_name": "chat", "litellm_params": {"model": "openai/c"}}
documents = st.fixed_dictionaries(
    {"model_list": st.permutations([JUDGE, CHAT, {**CHAT, "model_info": {"id": "c"}}, {**JUDGE, "model_info": {}}])},
    optional={
        "litellm_settings": chosen | st.none(),
        "router_settings": st.just({"num_retries": 0}) | st.none(),
        "general_settings": st.just({"master_key": "os.environ/LITELLM_MASTER_KEY"}) | st.just({}),
        "guardrails": guardrail.map(lambda one: [{"guardrail_name": "g", "litellm_params": one}]),
    },
)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 1) | st.sampled_from(["judge", "a.b", "os.environ/A", "http://[", "*"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("model_name", "litellm_params", "api_base", "guardrail", "guardrail_name", "default_on", "mode"),
                    *("callbacks", "success_callback", "cache", "master_key", "num_retries", "message_logging"),
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
SECTIONS = ["model_list", "litellm_settings", "router_settings", "general_settings", "guardrails", "callback_settings"]


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from([*SECTIONS, "x"]), anything, max_size=3) | anything)
@example({"model_list": [{"model_name": [], "litellm_params": {"api_base": "http://a:x"}}]})
@example({"model_list": [{"model_name": "judge", "litellm_params": {"api_base": "http://a:99999999"}}]})
@example({"model_list": "judge", "guardrails": "judge", "callback_settings": [5]})
@example({"litellm_settings": {"callbacks": [{}, [], None, 5], "success_callback": {}}, None: 5})
def test_any_document_is_judged(document: Any) -> None:
    found = base_rules.problems(document, POLICY, keep=frozenset({"judge"}), integrations=frozenset({"judge"}))
    assert all(str(one).endswith(".") for one in found)
    if not found and isinstance(document, dict):
        base_rules.modules(document)
        base_rules.guardrail_names(document)


@settings(deadline=None, max_examples=25)
@given(documents, st.booleans() | st.none(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_any_allowed_file_in_any_style_is_merged_without_a_loss(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], flow: bool | None, indent: int, random: Any
) -> None:
    shuffled = json.loads(json.dumps(dict(random.sample(list(document.items()), len(document)))))  # shares nothing
    text = yaml.safe_dump(shuffled, default_flow_style=flow, indent=indent + 1, sort_keys=False, allow_unicode=True)
    commented = "".join(f"# {number}\n{line}\n" for number, line in enumerate(text.splitlines())) if not flow else text
    file = written(tmp_path_factory.getbasetemp(), commented)
    used = document.get("litellm_settings") or {}
    merged = base.rendered(config(), file, ("judge",), tuple({*used.get("success_callback", ())} & {"langfuse"}))
    made = yaml.safe_load(merged.text)
    expected = copy.deepcopy(document)
    for section, found in expected.items():
        if isinstance(found, dict):
            for key, value in found.items():
                if key == "callbacks":
                    value = [*(value if isinstance(value, list) else [value]), OWN]
                assert made[section][key] == value, f"{section}.{key}"
    assert [one for one in made["model_list"] if "pool.invalid" not in str(one)] == [
        one for one in expected["model_list"] if one["model_name"] == "judge"
    ]
    if not flow:
        comments = [line for line in merged.text.splitlines() if line.startswith("# ")]
        removed = sum(line in {f"# {n}" for n in range(999)} for line in comments)
        assert removed >= len(shuffled), "comments stay"


def test_a_file_whose_sections_share_nodes_is_refused_and_not_spoiled(tmp_path: Path) -> None:
    shared = "model_list:\n- &a\n  model_name: chat\n  litellm_params: {model: x}\n- *a\n"
    assert "can't be inserted" in refusals(tmp_path, shared)


def test_a_module_of_theirs_is_found_where_litellm_looks_for_it(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "guards").mkdir(parents=True)
    (tmp_path / "theirs" / "audit.py").write_text("logger = 1\n")
    merged = base.rendered(config(), written(tmp_path / "theirs", THEIRS), ("judge",), ("langfuse",))
    place = tmp_path / "made"
    place.mkdir()
    (place / "left-over.py").write_text("")
    file = base.place(merged, place)
    assert file.read_text() == merged.text
    assert sorted(one.name for one in place.iterdir()) == ["audit.py", "config.yaml", "guards"]
    assert (place / "audit.py").read_text() == "logger = 1\n"


def test_the_merged_configuration_is_printed_and_a_bad_base_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "router.json"
    file.write_text(to_json(config()))
    own = written(tmp_path, THEIRS)
    arguments = [
        "render",
        "--config",
        str(file),
        "--base",
        str(own),
        "--keep-callback",
        "langfuse",
        "--keep-model",
        "judge",
    ]
    result = CliRunner().invoke(litellm, arguments)
    assert result.exit_code == 0, result.output
    assert "# the judge of the guardrails" in result.stdout and "model_name: floor" in result.stdout
    assert "chat" in result.stderr and "pools" in result.stderr, "what was replaced is said, beside the output"
    with pytest.raises(SystemExit) as ended:
        main(["router", "litellm", *arguments[:-2]])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "model_list[1].model_name is 'judge'" in said and "Traceback" not in said, said
