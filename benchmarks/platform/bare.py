"""The program that a person would write without our components: the same raw resources, one constructor each.

Made from a deployed stack's state. A value that came from another resource is written as a reference to that resource,
so that the engine has the same graph to wait for; literal names keep both programs' resources equal.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pulumi_aws
import pulumi_kubernetes

from headrace_components import vendor_resources

State = Mapping[str, Any]
_SECRET: Final = "4dabf18193072939515e22adb298388d"  # noqa: S105 - how Pulumi marks special values in a state
_SHORTEST_REFERENCE: Final = 6  # a shorter text is equal by accident
_NO_SOURCES: Final = frozenset({"id", "tags", "tagsAll"})
_IN_THE_CLASS: Final = frozenset({"apiVersion", "kind"})


@dataclass(frozen=True, kw_only=True)
class Known:
    """An output that later resources may refer to: its text and the expression that gives it."""

    text: str
    expression: str


def program(resources: Sequence[State]) -> str:
    """The whole text of a `__main__.py` that declares every custom resource of a state (exported with its secrets)."""
    custom = [one for one in resources if one.get("custom") and not _default_provider(one)]
    variables = {str(one["urn"]): f"r{place}" for place, one in enumerate(custom)}
    known = {str(one["urn"]): list(_known(variables[str(one["urn"])], one)) for one in custom}
    lines = ["import json", "import pulumi", "import pulumi_aws as aws", "import pulumi_kubernetes as kubernetes"]
    lines += ["from headrace_components import vendor_resources", ""]
    lines += [_declare(one, variables, known) for one in custom]
    return "\n".join(lines) + "\n"


def _default_provider(resource: State) -> bool:
    # "default" for a plugin by path, "default_7_51_0" for one with a version
    name = str(resource["urn"]).rpartition("::")[2]
    return str(resource["type"]).startswith("pulumi:providers:") and (name + "_").startswith("default_")


def _declare(resource: State, variables: Mapping[str, str], known: Mapping[str, list[Known]]) -> str:
    urn = str(resource["urn"])
    constructor = _constructor(str(resource["type"]))
    needs = resource.get("propertyDependencies") or {}
    every = {one for listed in needs.values() for one in listed or ()}
    ours = str(resource["type"]).startswith("headrace:")  # its classes take one mapping, with the schema's own names
    accepted = frozenset() if ours else _parameters(constructor)
    mapping: list[str] = []
    package_options = str(resource["type"]).startswith("pulumi:providers:")
    arguments = [repr(urn.rsplit("::", 1)[-1])]
    for name, value in (resource.get("inputs") or {}).items():
        if name.startswith("__") or name in ({"version"} if package_options else _IN_THE_CLASS):
            continue
        sources = [one for dependency in needs.get(name) or () for one in known.get(dependency, ())]
        if package_options and value in ("true", "false"):
            value = value == "true"  # a provider's own properties are kept as text
        if ours:
            mapping.append(f"{name!r}: {_value(value, sources)}")
            continue
        parameter = snake(name)
        assert parameter in accepted, f"{constructor} has no parameter {parameter}"
        arguments.append(f"{parameter}={_value(value, sources)}")
    if ours:
        arguments.append(f"{{{', '.join(mapping)}}}")
    options = []
    after = [variables[one] for one in resource.get("dependencies") or () if one in variables and one not in every]
    provider = str(resource.get("provider", "")).rpartition("::")[0]
    if provider in variables:
        options.append(f"provider={variables[provider]}")
    if after:
        options.append(f"depends_on=[{', '.join(after)}]")
    if resource.get("ignoreChanges"):
        options.append(f"ignore_changes={list(resource['ignoreChanges'])!r}")
    if options:
        arguments.append(f"opts=pulumi.ResourceOptions({', '.join(options)})")
    return f"{variables[urn]} = {constructor}({', '.join(arguments)})"


def _constructor(kind: str) -> str:
    package, module, name = kind.split(":")
    if package == "pulumi":
        return f"{name}.Provider"  # both packages are imported under their plugin's name
    if package == "headrace":
        classes = vendor_resources.VendorResource.__subclasses__()
        return f"vendor_resources.{next(one.__name__ for one in classes if one.urn_type == kind)}"
    if package == "aws":
        return f"aws.{module.split('/')[0]}.{name}"
    group, _, version = module.partition("/")
    return f"kubernetes.{group.split('.')[0]}.{version}.{name}"


@cache
def _parameters(constructor: str) -> frozenset[str]:
    package, *path = constructor.split(".")
    found: Any = {"aws": pulumi_aws, "kubernetes": pulumi_kubernetes}[package]
    for name in path:
        found = getattr(found, name)
    return frozenset(inspect.signature(found._internal_init).parameters)


def _value(value: object, sources: Sequence[Known]) -> str:
    if isinstance(value, Mapping):
        if _SECRET in value and "plaintext" in value:
            import json

            return f"pulumi.Output.secret({_value(json.loads(value['plaintext']), sources)})"
        inside = ", ".join(f"{key!r}: {_value(item, sources)}" for key, item in value.items() if key != "__defaults")
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(_value(item, sources) for item in value)}]"
    return _text(value, sources) if isinstance(value, str) else repr(value)


def _text(value: str, sources: Sequence[Known]) -> str:
    """A literal, a reference, or a text with references in it."""
    by_text = {one.text: one.expression for one in reversed(sources) if one.text in value}  # the first one counts
    if value in by_text:
        return by_text[value]
    if not by_text:
        return repr(value)
    longest_first = sorted(by_text, key=len, reverse=True)
    pieces = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", value)
    return f"pulumi.Output.concat({', '.join(by_text.get(piece) or repr(piece) for piece in pieces if piece)})"


def _known(variable: str, resource: State) -> Iterator[Known]:
    if resource.get("id"):
        yield Known(text=str(resource["id"]), expression=f"{variable}.id")
    # Texts first: a person refers to `cluster.arn`, not to the place inside another property where it stands too.
    outputs = sorted((resource.get("outputs") or {}).items(), key=lambda pair: not isinstance(pair[1], str))
    for name, value in outputs:
        if name not in _NO_SOURCES and not name.startswith("__"):
            ours = str(resource["type"]).startswith("headrace:")
            yield from _outputs(value, f"{variable}.output({name!r})" if ours else f"{variable}.{snake(name)}")


def _outputs(value: object, expression: str) -> Iterator[Known]:
    if isinstance(value, str):
        if len(value) >= _SHORTEST_REFERENCE:
            yield Known(text=value, expression=expression)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _outputs(item, f"{expression}[{place}]")
    elif isinstance(value, Mapping) and _SECRET not in value:
        for name, item in value.items():
            if re.fullmatch(r"[A-Za-z]\w*", name):
                yield from _outputs(item, f"{expression}[{snake(name)!r}]")


def snake(name: str) -> str:
    """`cidrIpv4` -> `cidr_ipv4`, as the SDKs name it."""
    text = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()
    return f"{text}_" if keyword.iskeyword(text) else text
