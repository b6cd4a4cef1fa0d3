"""`aws.iam.getPolicyDocument`: statements as the program writes them into IAM's JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_DEFAULT_VERSION = "2012-10-17"
_LISTS = (
    ("actions", "Action"),
    ("notActions", "NotAction"),
    ("resources", "Resource"),
    ("notResources", "NotResource"),
)


def render(args: Mapping[str, Any]) -> tuple[str, str]:
    """The document, indented and minified. Raises ValueError with a sentence for statements that clash."""
    statements = [_statement(s) for s in args.get("statements") or []]
    statements = _merge(_of(args.get("sourcePolicyDocuments"), args.get("sourceJson")), statements, clash=True)
    overrides = _of(args.get("overridePolicyDocuments"), args.get("overrideJson"))
    statements = _merge(statements, overrides, clash=False)
    document: dict[str, Any] = {"Version": args.get("version") or _DEFAULT_VERSION}
    if args.get("policyId"):
        document["Id"] = args["policyId"]
    document["Statement"] = statements
    return json.dumps(document, indent=2), json.dumps(document, separators=(",", ":"))


def _of(documents: Any, single: Any) -> list[dict[str, Any]]:
    """The statements of JSON documents, in order."""
    texts = [*(documents or []), *([single] if single else [])]
    result: list[dict[str, Any]] = []
    for text in texts:
        if text:
            found = json.loads(text).get("Statement", [])
            result += found if isinstance(found, list) else [found]
    return result


def _merge(first: list[dict[str, Any]], then: list[dict[str, Any]], *, clash: bool) -> list[dict[str, Any]]:
    """`then` behind `first`; a statement with a known Sid takes that one's place, or is refused."""
    result = list(first)
    places = {s["Sid"]: i for i, s in enumerate(result) if s.get("Sid")}
    for statement in then:
        sid = statement.get("Sid")
        if sid and sid in places:
            if clash:
                raise ValueError(f"duplicate Sid ({sid}): each statement needs one of its own")
            result[places[sid]] = statement
        else:
            if sid:
                places[sid] = len(result)
            result.append(statement)
    return result


def _statement(source: Mapping[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = {}
    if source.get("sid"):
        statement["Sid"] = source["sid"]
    statement["Effect"] = source.get("effect") or "Allow"
    for name, member in _LISTS:
        if source.get(name):
            statement[member] = _one_or_many(source[name])
    for name, member in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if source.get(name):
            statement[member] = _principals(source[name])
    if source.get("conditions"):
        conditions: dict[str, dict[str, Any]] = {}
        for condition in source["conditions"]:
            held = conditions.setdefault(condition["test"], {})
            values = list(condition["values"])
            before = held.get(condition["variable"], [])
            before = before if isinstance(before, list) else [before]
            held[condition["variable"]] = _one_or_many([*before, *values], ordered=True)
        statement["Condition"] = conditions
    return statement


def _principals(rows: list[Mapping[str, Any]]) -> Any:
    grouped: dict[str, list[str]] = {}
    for row in rows:
        grouped.setdefault(row["type"], []).extend(row["identifiers"])
    if grouped == {"*": ["*"]}:
        return "*"
    return {kind: _one_or_many(identifiers) for kind, identifiers in grouped.items()}


def _one_or_many(values: list[str], *, ordered: bool = False) -> Any:
    """IAM writes one value without its list. Lists of actions and the like are sets: in reverse order, as the official
    function writes them."""
    unique = list(dict.fromkeys(values)) if ordered else sorted(set(values), reverse=True)
    return unique[0] if len(unique) == 1 else unique
