"""What a team's own LiteLLM configuration may say beside the router's. Pure.

Every setting is named in `base_settings`, or it is refused: LiteLLM takes unknown names of `litellm_settings` as orders
to itself. The document judged is the one that LiteLLM's own reader (PyYAML, YAML 1.1) makes of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from headrace.errors import Problem
from headrace.router.config import RouterConfig
from headrace.router.litellm.base_settings import CHOOSES, KEPT, MUST_BE, REASONS, REPEATS, TEXTS, UNKNOWN, Why
from headrace.router.litellm.model_list import HOOKS, POOL_HOST, group_of, litellm_config

# LiteLLM's lists of callbacks. What it hands to one holds texts of requests: with turn_off_message_logging LiteLLM
# 1.106.2 takes them out of `messages` and the answer after a success, and leaves them in copies of the request
# (proxy_server_request, additional_args) and in all that it hands over after a failure.
CALLBACKS: Final = ("callbacks", "success_callback", "failure_callback")
_ENVIRONMENT: Final = "os.environ/"
_MASTER_KEY: Final = "os.environ/LITELLM_MASTER_KEY"
_DOTTED: Final = re.compile(r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$")
_SECRET: Final = ("key", "secret", "token", "password", "credential")


def problems(
    document: object,
    policy: RouterConfig,
    *,
    keep: frozenset[str] = frozenset(),
    integrations: frozenset[str] = frozenset(),
) -> list[Problem]:
    """Everything that a team's configuration may not say.

    `keep` names models that its own callbacks may call, `integrations` those of LiteLLM's that may see requests.
    """
    if not isinstance(document, Mapping):
        return [_problem("", None, ("LiteLLM's configuration must be a mapping", "", "write sections into it"))]
    found: list[Problem] = []
    for section, value in document.items():
        match section:
            case "model_list":
                found += _models(value, policy, keep)
            case "litellm_settings" | "router_settings" | "general_settings":
                found += _settings(section, value, litellm_config(policy)[section], integrations)
            case "guardrails":
                found += _guardrails(value)
            case "callback_settings":
                found += _callback_settings(value)
            case "environment_variables":
                why = "it would change the environment after it was checked, and hold secrets in plain text"
                found.append(
                    _problem(
                        section,
                        None,
                        ("a file must not set variables", why, "set them where the router is started, from a secret"),
                    )
                )
            case _:
                found.append(_problem(str(section), None, REASONS.get(str(section), UNKNOWN)))
    settings = document.get("litellm_settings")
    lists = [settings.get(name) for name in CALLBACKS] if isinstance(settings, Mapping) else []
    used = {one for each in lists for one in _listed(each) if isinstance(one, str)}
    found += [
        _problem("--keep-callback", name, ("no list of callbacks in the file has it", "", "name one of them"))
        for name in sorted(integrations - used)
    ]
    listed = {str(one.get("model_name")) for one in _entries(document.get("model_list"))}
    found += [
        _problem("--keep-model", name, ("there is no such model in the file's model_list", "", "name one of them"))
        for name in sorted(keep - listed)
    ]
    return found


def kept_models(document: Mapping[str, Any], keep: frozenset[str]) -> list[dict[str, Any]]:
    """The entries of a judged file that stay."""
    return [dict(one) for one in _entries(document.get("model_list")) if one.get("model_name") in keep]


def replaced(entry: object, policy: RouterConfig) -> bool:
    """Whether the router's pools take an entry's place: it names a workload or release, or an earlier render did it."""
    if not isinstance(entry, Mapping):
        return False
    name, parameters = entry.get("model_name"), entry.get("litellm_params")
    base = parameters.get("api_base") if isinstance(parameters, Mapping) else None
    return (isinstance(name, str) and name in _served(policy)) or (
        isinstance(base, str) and _host(base).endswith(POOL_HOST)
    )


def modules(document: Mapping[str, Any]) -> list[str]:
    """Dotted names of the team's own code: callbacks and custom guardrails, ours left out."""
    settings = document.get("litellm_settings") or {}
    named = [one for name in CALLBACKS for one in _listed(settings.get(name))]
    for one in document.get("guardrails") or ():
        named.append(one["litellm_params"]["guardrail"])
    return [one for one in named if isinstance(one, str) and "." in one and not one.startswith(f"{HOOKS}.")]


def guardrail_names(document: Mapping[str, Any]) -> list[str]:
    """The guardrails that must run."""
    return [str(one["guardrail_name"]) for one in document.get("guardrails") or ()]


def _served(policy: RouterConfig) -> frozenset[str]:
    """Names by which callers reach pools."""
    releases = {release for one in policy.workloads.values() for release in (one.release, *one.canary)}
    return frozenset(policy.workloads) | releases


# -- models ------------------------------------------------------------------------------------------------------------


def _models(value: object, policy: RouterConfig, keep: frozenset[str]) -> Iterator[Problem]:
    if value is not None and not isinstance(value, list):
        yield _problem("model_list", None, ("it must be a list", "", "write one entry for each model"))
        return
    groups = {group_of(pool, endpoint) for pool in policy.pools for endpoint in ("chat.completions", "completions")}
    hosts = {(_host(pool.url), urlsplit(pool.url).port) for pool in policy.pools.values()}
    for number, entry in enumerate(value or ()):
        path = f"model_list[{number}]"
        name = entry.get("model_name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not isinstance(entry.get("litellm_params"), Mapping):
            yield _problem(path, None, ("it must have model_name and litellm_params", "", "complete or remove it"))
            continue
        if name in keep:
            yield from _kept_model(path, entry, groups | _served(policy), hosts)
        elif not replaced(entry, policy):
            yield _problem(
                f"{path}.model_name",
                name,
                (
                    "it is no workload of the router",
                    "its calls would know no residency, no budget and no record",
                    "remove it, or keep it with --keep-model: the callbacks of the file may call it then, callers not",
                ),
            )


def _kept_model(
    path: str, entry: Mapping[str, Any], taken: frozenset[str] | set[str], hosts: set[tuple[str, int | None]]
) -> Iterator[Problem]:
    name, parameters = str(entry.get("model_name")), entry["litellm_params"]
    base = parameters.get("api_base")
    if name in taken or "*" in name:
        rule = "its name can't be kept"
        yield _problem(f"{path}.model_name", name, (rule, "it is the router's, or a pattern", "give it another name"))
    if not _is_address(base):
        yield _problem(
            f"{path}.litellm_params.api_base",
            None,
            (
                "a kept model names its address as http:// or https://",
                "whoever keeps it answers for the place that texts go to",
                "write the address into the file",
            ),
        )
    elif (_host(base), urlsplit(base).port) in hosts or _host(base).endswith(POOL_HOST):
        yield _problem(
            f"{path}.litellm_params.api_base",
            base,
            ("it is a pool of the router", "calls past the router take slots that nobody counts", "remove the entry"),
        )
    for key in ("fallbacks", "num_retries"):
        if parameters.get(key):
            yield _problem(f"{path}.litellm_params.{key}", None, REPEATS)
    yield from _secrets(f"{path}.litellm_params", parameters)


# -- settings ----------------------------------------------------------------------------------------------------------


def _settings(section: str, value: object, ours: Mapping[str, Any], integrations: frozenset[str]) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield _problem(section, None, ("it must be a mapping", "", "write settings into it"))
        return
    for key, given in value.items():
        path = f"{section}.{key}"
        if section == "litellm_settings" and key in CALLBACKS:
            yield from _callbacks(path, given, integrations)
        elif section == "general_settings" and key == "master_key":
            if given != _MASTER_KEY:
                yield _problem(
                    path,
                    None,
                    (
                        f"it must be {_MASTER_KEY} or absent",
                        "the router makes a key that nobody knows at each start; one in a file is known to all readers",
                        "remove it",
                    ),
                )
        elif key in ours or key in MUST_BE:
            wanted = ours[key] if key in ours else MUST_BE[key]
            if isinstance(given, bool) is not isinstance(wanted, bool) or given != wanted:
                yield _problem(path, given if isinstance(given, int | float | str) else None, REASONS[str(key)])
        elif key in KEPT[section]:
            yield from _secrets(path, given)
        else:
            yield _problem(path, None, REASONS.get(str(key), UNKNOWN))


def _callbacks(path: str, value: object, integrations: frozenset[str]) -> Iterator[Problem]:
    for name in _listed(value):
        if not isinstance(name, str) or not name:
            yield _problem(path, None, ("a callback is a name", "", "write module.instance"))
        elif "." in name and not _DOTTED.match(name):
            why = "what a bucket or a variable holds may change after it was checked"
            yield _problem(
                path,
                name,
                (
                    "code of the team's own is named module.instance",
                    why,
                    "put the module beside this file, and name it",
                ),
            )
        elif "." not in name and name not in integrations:
            yield _problem(
                path,
                name,
                (
                    "an integration of LiteLLM's must be named",
                    "LiteLLM hands it texts of requests, which may leave their jurisdiction with it",
                    "remove it, or name it with --keep-callback; a guardrail belongs into guardrails",
                ),
            )


def _guardrails(value: object) -> Iterator[Problem]:
    if value is not None and not isinstance(value, list):
        yield _problem("guardrails", None, ("it must be a list", "", "write one entry for each guardrail"))
        return
    names = Counter(str(one.get("guardrail_name")) for one in value or () if isinstance(one, Mapping))
    for number, one in enumerate(value or ()):
        path = f"guardrails[{number}]"
        parameters = one.get("litellm_params") if isinstance(one, Mapping) else None
        if not isinstance(parameters, Mapping) or not isinstance(parameters.get("guardrail"), str):
            rule = "it must have guardrail_name and litellm_params with guardrail and mode"
            yield _problem(path, None, (rule, "", "complete or remove it"))
            continue
        name = str(one.get("guardrail_name"))
        if not one.get("guardrail_name") or names[name] > 1:
            why = "LiteLLM runs only the first of a name"
            yield _problem(f"{path}.guardrail_name", name, ("each guardrail has a name of its own", why, "name it"))
        if parameters.get("default_on") is not True:
            yield _problem(
                f"{path}.litellm_params.default_on",
                None,
                (
                    "a guardrail must be on for every request",
                    "callers can't ask for it: the router leaves only the API's own parameters in a body",
                    "set default_on: true, or remove the guardrail",
                ),
            )
        if parameters.get("on_sensitive_data", "block") != "block" or parameters.get("sensitive_data_route_to_model"):
            yield _problem(f"{path}.litellm_params.on_sensitive_data", None, CHOOSES)
        named = parameters["guardrail"]
        yield from _callbacks(f"{path}.litellm_params.guardrail", named, frozenset({named}))
        yield from _secrets(f"{path}.litellm_params", parameters)


def _callback_settings(value: object) -> Iterator[Problem]:
    for name, given in value.items() if isinstance(value, Mapping) else ():
        if isinstance(given, Mapping) and given.get("message_logging"):
            yield _problem(f"callback_settings.{name}.message_logging", None, TEXTS)
        yield from _secrets(f"callback_settings.{name}", given)


def _secrets(path: str, value: object) -> Iterator[Problem]:
    """Values that look like secrets and stand in the file."""
    if isinstance(value, Mapping):
        for key, given in value.items():
            secret = any(word in str(key).lower().split("_") for word in _SECRET)
            if secret and isinstance(given, str) and not given.startswith(_ENVIRONMENT):
                yield _problem(
                    f"{path}.{key}",
                    None,
                    (
                        "a secret must not stand in the file",
                        "whoever reads the file has it",
                        f"write {_ENVIRONMENT}NAME and set that variable from a secret",
                    ),
                )
            yield from _secrets(f"{path}.{key}", given)
    elif isinstance(value, list):
        for number, given in enumerate(value):
            yield from _secrets(f"{path}[{number}]", given)


# -- small parts -------------------------------------------------------------------------------------------------------


def _problem(path: str, value: object, why: Why) -> Problem:
    return Problem(path=path or "--base", value=value, rule=why[0], reason=why[1], next_step=why[2])


def _entries(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _listed(value: object) -> list[Any]:
    """A list of callbacks, which LiteLLM also takes as one name."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username and not parts.query
