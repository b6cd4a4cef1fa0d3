"""A team's own LiteLLM configuration under the router's: judged, then merged by inserting lines.

Every line of theirs stays where and as it is, comments too, but for models that the router's pools replace. Whatever
the inserting made is read again and compared with what it should say; a file that can't be edited so is refused.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from headrace import yamlfile
from headrace.errors import Refused, refuse
from headrace.router.config import RouterConfig
from headrace.router.litellm import base_rules
from headrace.router.litellm.model_list import HOOKS, litellm_config

_OPTION: Final = "--base"
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What LiteLLM is told, and what the plug-in must know of it."""

    text: str
    """config.yaml."""
    kept: tuple[dict[str, Any], ...] = ()
    """Models outside of the router's pools, by an explicit wish: for the team's callbacks and guardrails only."""
    modules: tuple[str, ...] = ()
    """Dotted names of the team's own code."""
    guardrails: tuple[str, ...] = ()
    """Guardrails that must run."""
    replaced: tuple[str, ...] = ()
    """Models of theirs that the router's pools serve now."""
    folder: Path | None = None
    """Where the team's file lies, and their modules beside it."""


def rendered(
    policy: RouterConfig, file: Path | None = None, keep: tuple[str, ...] = (), integrations: tuple[str, ...] = ()
) -> Merged:
    """LiteLLM's configuration from the router's, over a team's own where `file` is given. Raises `Refused`."""
    if file is None:
        for option, names in (("--keep-model", keep), ("--keep-callback", integrations)):
            if names:
                raise refuse(option, names[0], "it needs --base", next_step="name the file that it stands in")
        return Merged(text=yaml.safe_dump(litellm_config(policy), sort_keys=False))
    text, theirs = _read(file)
    wrong = base_rules.problems(theirs, policy, keep=frozenset(keep), integrations=frozenset(integrations))
    if wrong:
        raise Refused(*wrong)
    kept = base_rules.kept_models(theirs, frozenset(keep))
    gone = [one["model_name"] for one in theirs.get("model_list") or () if base_rules.replaced(one, policy)]
    wanted = _wanted(theirs, policy, kept)
    made = _edited(text, theirs, wanted, policy)
    if made is None or _loaded(made) != wanted:
        raise refuse(
            _OPTION,
            str(file),
            "the router's settings can't be inserted",
            reason="its sections share nodes, or are written in an unusual form",
            next_step="write the sections as plain blocks",
        )
    return Merged(
        text=made,
        kept=tuple(kept),
        modules=tuple(base_rules.modules(theirs)),
        guardrails=tuple(base_rules.guardrail_names(theirs)),
        replaced=tuple(dict.fromkeys(gone)),
        folder=file.resolve().parent,
    )


def place(merged: Merged, folder: Path) -> Path:
    """Writes config.yaml into an empty `folder`, and links to the team's modules beside it: LiteLLM looks there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in merged.modules:
        top = name.split(".")[0]
        assert merged.folder is not None  # noqa: S101 - modules come from a file
        for found in (merged.folder / f"{top}.py", merged.folder / top):
            link = folder / found.name
            if found.exists() and not link.is_symlink():
                link.symlink_to(found)
    file = folder / "config.yaml"
    file.write_text(merged.text, encoding="utf-8")
    return file


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    """The text, and what LiteLLM's own reader makes of it. Raises `Refused`."""
    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
        if len(data) > _LARGEST:
            raise refuse(_OPTION, str(file), "it is larger than 1 MiB", next_step="name LiteLLM's config.yaml")
        yamlfile.parse(text)  # a key given twice, or nested too deeply
        found = yaml.safe_load(text)
    except OSError as error:
        raise refuse(_OPTION, str(file), f"can't be read ({error.strerror})", next_step="check the path") from None
    except (UnicodeDecodeError, yamlfile.YamlProblem, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise refuse(_OPTION, str(file), "is not YAML", reason=reason, next_step="correct it") from None
    return text, {} if found is None else found


def _loaded(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _wanted(theirs: Mapping[str, Any], policy: RouterConfig, kept: list[dict[str, Any]]) -> dict[str, Any]:
    """What the merged file must say."""
    ours = litellm_config(policy)
    wanted = copy.deepcopy(dict(theirs))
    for section in ("litellm_settings", "router_settings", "general_settings"):
        settings = {**(wanted.get(section) or {})}
        own = dict(ours[section])
        if section == "litellm_settings":
            settings["callbacks"] = _callbacks(settings.get("callbacks"))
            own.pop("callbacks")
        wanted[section] = {**settings, **own}
    wanted["model_list"] = [*kept, *ours["model_list"]]
    return wanted


def _callbacks(theirs: object) -> list[str]:
    """Theirs in their order, then ours: what rejects or rewrites a request does so before it takes a slot."""
    listed: list[Any] = theirs if isinstance(theirs, list) else [theirs] if theirs else []
    own = f"{HOOKS}.hooks"
    return [*[name for name in listed if name != own], own]


# -- editing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Edit:
    """Characters from `start` to `end` become `text`."""

    start: int
    end: int
    text: str


def _edited(text: str, theirs: Mapping[str, Any], wanted: Mapping[str, Any], policy: RouterConfig) -> str | None:
    """The text with the router's settings, or None where it can't be edited. The caller compares what it says."""
    text = text if not text or text.endswith("\n") else f"{text}\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and not isinstance(root, yaml.MappingNode):
        return None
    if root is not None and root.flow_style:
        return yaml.safe_dump(dict(wanted), sort_keys=False)  # JSON: it has no comments
    nodes = {key.value: (key, value) for key, value in root.value} if root is not None else {}
    edits: list[_Edit] = []
    added = ""
    for section in ("model_list", "litellm_settings", "router_settings", "general_settings"):
        if section not in nodes:
            added += yaml.safe_dump({section: wanted[section]}, sort_keys=False)
            continue
        key, node = nodes[section]
        if theirs.get(section) is None:
            body = yaml.safe_dump({section: wanted[section]}, sort_keys=False)
            edits.append(
                _Edit(key.start_mark.index, max(key.end_mark.index + 1, node.end_mark.index), body.rstrip("\n"))
            )
        elif section == "model_list":
            edits += _models(text, node, theirs[section], wanted[section], policy)
        else:
            edits += _settings(text, node, theirs[section], wanted[section])
    for edit in sorted(edits, key=lambda one: (one.start, one.end), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text + added


def _settings(text: str, node: yaml.Node, theirs: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[_Edit]:
    """Keys that are missing come to the end of the mapping; ours join their callbacks."""
    if not isinstance(node, yaml.MappingNode) or not node.value:
        return [_Edit(node.start_mark.index, node.end_mark.index, json.dumps(wanted))]
    missing = {key: value for key, value in wanted.items() if key not in theirs}
    edits = []
    own = {key.value: value for key, value in node.value}
    if "callbacks" in own and theirs["callbacks"] != wanted["callbacks"]:
        edits.append(_joined(text, own["callbacks"], theirs["callbacks"], wanted["callbacks"]))
    elif "callbacks" in wanted and "callbacks" not in own:
        missing["callbacks"] = wanted["callbacks"]  # not there, or merged in by a reference
    if node.flow_style:
        inside = "".join(f"{json.dumps(key)}: {json.dumps(value)}, " for key, value in missing.items())
        edits.append(_Edit(node.start_mark.index + 1, node.start_mark.index + 1, inside))
    elif missing:
        lines = yaml.safe_dump(missing, sort_keys=False).splitlines()
        edits.append(_inserted(text, node, lines, node.value[0][0].start_mark.column))
    return edits


def _joined(text: str, node: yaml.Node, theirs: object, wanted: list[str]) -> _Edit:
    """Our callback behind theirs; theirs without ours where an earlier render had put it elsewhere."""
    if not isinstance(node, yaml.SequenceNode) or not node.value or wanted[:-1] != theirs:
        return _Edit(node.start_mark.index, _end(text, node), json.dumps(wanted))
    if node.flow_style:
        end = node.value[-1].end_mark.index
        return _Edit(end, end, f", {json.dumps(wanted[-1])}")
    return _inserted(text, node, [f"- {wanted[-1]}"], node.start_mark.column)


def _models(
    text: str, node: yaml.Node, theirs: list[Any], wanted: list[dict[str, Any]], policy: RouterConfig
) -> list[_Edit]:
    """Theirs that stay, then ours. Entries that the router's pools replace go with their lines."""
    if not isinstance(node, yaml.SequenceNode) or node.flow_style or not node.value:
        return [_Edit(node.start_mark.index, node.end_mark.index, json.dumps(wanted))]
    edits = []
    gone = 0
    for item, entry in zip(node.value, theirs, strict=True):
        if base_rules.replaced(entry, policy):
            gone += 1
            start = text.rindex("\n", 0, item.start_mark.index) + 1
            edits.append(_Edit(start, _line_after(text, item), ""))
    ours = wanted[len(node.value) - gone :]
    lines = yaml.safe_dump(ours, sort_keys=False).splitlines()
    return [*edits, _inserted(text, node, lines, node.start_mark.column)]


def _inserted(text: str, node: yaml.Node, lines: list[str], column: int) -> _Edit:
    """Lines below the last line of a node, before the comments that follow it."""
    at = _line_after(text, node)
    return _Edit(at, at, "".join(f"{' ' * column}{line}\n" for line in lines))


def _line_after(text: str, node: yaml.Node) -> int:
    """Where the line after a node's last one begins."""
    found = text.find("\n", _end(text, node))
    return len(text) if found < 0 else found + 1


def _end(text: str, node: yaml.Node) -> int:
    """Where a node's own text ends: a block's mark stands where the next node begins, behind comments."""
    end = node.end_mark.index if getattr(node, "flow_style", False) else _last(node).end_mark.index
    return len(text[:end].rstrip())


def _last(node: yaml.Node) -> yaml.Node:
    """The last leaf of a node."""
    while isinstance(node, yaml.MappingNode | yaml.SequenceNode) and node.value and not node.flow_style:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return node
