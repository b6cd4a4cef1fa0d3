"""The five stacks as graphs, recorded without an engine, and their settings: what mutations start from."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Any

from headrace.rules import engine
from headrace.rules.finding import Finding
from headrace.rules.graph import Graph, Resource
from headrace.rules.registry import RULES
from headrace.rules.rule import View
from headrace.settings.load import load as load_settings
from headrace.settings.tree import Settings
from tests.unit.components.recording import stack_settings, whole_stack

STACKS = ("sandbox", "dev", "staging", "prod-eu", "prod-us")
TODAY = date(2026, 11, 21)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A stack that may be changed: plain settings and resources."""

    settings: dict[str, Any]
    resources: tuple[Resource, ...]

    def with_resource(self, resource: Resource) -> Case:
        """One resource more."""
        return replace(self, resources=(*self.resources, resource))

    def findings(self) -> tuple[Finding, ...]:
        """Everything that all rules find, today."""
        return engine.evaluate(View(graph=Graph(self.resources), today=TODAY, settings=loaded(self)), RULES)

    def change(self, type_: str, name: str) -> tuple[Case, Any]:
        """The case with a copy of one resource, and the properties of that copy to change."""
        (one,) = (one for one in self.resources if (one.type, one.name) == (type_, name))
        copied = replace(one, props=copy.deepcopy(dict(one.props)))
        resources = tuple(copied if other is one else other for other in self.resources)
        return replace(self, resources=resources), copied.props


def loaded(case: Case) -> Settings:
    """The case's settings, validated."""
    return _loaded(json.dumps(case.settings, default=str))


@cache
def _loaded(settings: str) -> Settings:
    return load_settings(json.loads(settings))


@cache
def _recorded(name: str) -> tuple[dict[str, Any], tuple[Resource, ...]]:
    settings = stack_settings(name)
    seen = whole_stack(name)
    return settings, tuple(
        Resource(
            urn=f"urn:pulumi:{name}::inference::{one.type}::{one.name}",
            type=one.type,
            name=one.name,
            # the recording answers with ARNs of one region whatever the stack's
            props=_moved({"id": f"{one.name}-id", **one.inputs}, settings["region"]),
        )
        for one in seen.resources
    )


def _moved(value: Any, region: str) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, region) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, region) for item in value]
    return value.replace("eu-central-1", region) if isinstance(value, str) else value


def good(name: str) -> Case:
    """A stack of the repository, free to be changed."""
    settings, resources = _recorded(name)  # resources are shared: `change` copies
    return Case(settings=copy.deepcopy(settings), resources=resources)


def resource(type_: str, props: dict[str, Any], name: str = "by-hand") -> Resource:
    """A resource that somebody composed by hand."""
    return Resource(
        urn=f"urn:pulumi:test::inference::{type_}::{name}", type=type_, name=name, props={"id": f"{name}-id", **props}
    )
