"""The vendor's request schemas, taken from its npm package `@runpod/mcp-server` into the cache, never into the project.

The package carries one JSON Schema per operation of the REST API v2 (Apache-2.0). It publishes no response schemas, so
answers are checked against the definitions of the same properties in the requests, with the list of required properties
from the vendor's API reference (docs.runpod.io, API reference v2, read 2026-11-21).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

from headrace_sandbox import cache

PACKAGE: Final = "@runpod/mcp-server"
VERSION: Final = "4.0.0"
FETCH_TIMEOUT_S: Final = 60
_SOURCE: Final = "specgen/generated/tools.gen.ts"
# Evaluates the package's data literal in an empty context: it is data, and gets nothing to act with.
_TO_JSON: Final = """
const vm = require('node:vm');
const map = JSON.parse(require('node:fs').readFileSync(process.argv[1], 'utf8'));
const at = map.sources.findIndex((name) => name.endsWith(process.argv[2]));
if (at < 0) { console.error('no ' + process.argv[2]); process.exit(3); }
const text = map.sourcesContent[at];
const literal = text.slice(text.indexOf('= [', text.indexOf('generatedTools')) + 2);
process.stdout.write(JSON.stringify(vm.runInNewContext('(' + literal.replace(/;\\s*$/, '') + ')', {})));
"""

# What each answer must have (API reference v2: Endpoint, Template, NetworkVolume, Registry).
_CONTAINER: Final = ("image", "args", "disk", "ports", "env", "registry")
REQUIRED: Final = {
    "createEndpoint": (
        *("id", "name", "workers", "scaling", "dataCenterIds", "networkVolumes", "timeout", "flashboot", "createdAt"),
    ),
    "createTemplate": (
        *("id", "name", *_CONTAINER, "mounts", "serverless", "public", "category", "startSsh", "startJupyter"),
        "allowedCudaVersions",
    ),
    "createNetworkVolume": ("id", "name", "size", "dataCenter", "type"),
    "createRegistry": ("id", "name"),
}
# Answers may hold null or nothing where a request may not.
_NULLABLE: Final = {"gpu": ("minCudaVersion",)}


class Unavailable(Exception):
    """The schemas can't be had here; the message says why."""


def file_of(version: str) -> Path:
    """Where a version lies in the cache."""
    return cache.root() / "runpod-schema" / f"{version}.json"


def ensure(version: str = VERSION) -> Path:
    """The schemas of a version, fetched with npm if the cache lacks them. Raises `Unavailable`."""
    target = file_of(version)
    if target.is_file():
        return target
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise Unavailable("npm and node are needed to take them out of the vendor's package")
    with cache.locked(target.parent / ".lock", what="fetch RunPod's schemas"), tempfile.TemporaryDirectory() as folder:
        if target.is_file():
            return target
        _run([npm, "pack", f"{PACKAGE}@{version}", "--silent", "--pack-destination", folder], Path(folder))
        archive = next(Path(folder).glob("*.tgz"), None)
        if archive is None:
            raise Unavailable("npm brought no package")
        source_map = Path(folder) / "source.map"
        source_map.write_bytes(_source_map(archive, version))
        tools = json.loads(_run([node, "-e", _TO_JSON, str(source_map), _SOURCE], Path(folder)))
        operations = {
            tool["operationId"]: {key: tool[key] for key in ("method", "path", "inputSchema")} for tool in tools
        }
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps({"version": version, "operations": operations}), encoding="utf-8")
        partial.replace(target)
    return target


def _source_map(archive: Path, version: str) -> bytes:
    """The map that holds the schemas' source. Nothing else of the package is unpacked. Raises `Unavailable`."""
    with tarfile.open(archive) as packed:
        for member in packed:
            held = packed.extractfile(member) if member.name.endswith(".map") else None
            text = held.read() if held is not None else b""
            if _SOURCE.encode() in text:
                return text
    raise Unavailable(f"{PACKAGE} {version} no longer holds {_SOURCE}")


def newest() -> str:
    """The newest version of the package. Raises `Unavailable`."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    return _run([npm, "view", PACKAGE, "version", "--silent"], Path.cwd()).strip()


def _run(argv: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - npm or node, with our own arguments
            argv, cwd=folder, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(argv[0]).name} failed: {type(error).__name__}") from error
    if done.returncode != 0:
        raise Unavailable(f"{Path(argv[0]).name} failed: {' '.join(done.stderr.split())[-200:]}")
    return done.stdout


@dataclass(frozen=True)
class Schemas:
    """The request schemas of one version."""

    version: str
    operations: dict[str, Any]

    @staticmethod
    def load(version: str = VERSION) -> Schemas | None:
        """What the cache has; None if nothing."""
        file = file_of(version)
        if not file.is_file():
            return None
        loaded = json.loads(file.read_text(encoding="utf-8"))
        return Schemas(loaded["version"], loaded["operations"])

    @cached_property
    def _validators(self) -> dict[str, Draft202012Validator]:
        made = {}
        for operation, one in self.operations.items():
            schema = one["inputSchema"]
            if "body" in schema.get("properties", {}):
                made[operation] = Draft202012Validator(
                    {**schema["properties"]["body"], "$defs": schema.get("$defs", {})}
                )
        return made

    def request_errors(self, operation: str, body: object) -> list[str]:
        """What the vendor's schema says against a request."""
        return _errors(self._validators[operation], body)

    def response_errors(self, operation: str, body: dict[str, Any]) -> list[str]:
        """What is wrong with our own answer, by the request's definitions of the same properties."""
        missing = [f"{name}: is required in an answer" for name in REQUIRED[operation] if name not in body]
        definitions = self.operations[operation]["inputSchema"].get("$defs", {})
        properties = _properties(self.operations[operation]["inputSchema"]["properties"]["body"], definitions)
        found = []
        for name, value in body.items():
            if name not in properties or value is None:
                continue
            checked = value
            if isinstance(value, dict):
                checked = {
                    key: one for key, one in value.items() if not (key in _NULLABLE.get(name, ()) and one is None)
                }
            validator = Draft202012Validator({**properties[name], "$defs": definitions})
            found += [f"{name}.{error}" for error in _errors(validator, checked)]
        return missing + found


def _properties(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Every property that a schema names, through references and compositions."""
    if "$ref" in schema:
        return _properties(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    found = dict(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        found |= _properties(part, definitions)
    return found


def _errors(validator: Draft202012Validator, body: object) -> list[str]:
    return [
        f"{'.'.join(map(str, error.absolute_path)) or 'body'}: {error.message}"
        for error in sorted(validator.iter_errors(body), key=str)
    ]


def main() -> int:
    """`python -m headrace_sandbox.runpod.schema`: compare the schemas in use with the newest package. For a weekly job.

    Exit code 0: the same; 1: they differ; 2: the newest can't be had.
    """
    try:
        latest = newest()
        old, new = Schemas.load(ensure().stem), Schemas.load(ensure(latest).stem)
    except Unavailable as why:
        print(f"RunPod's schemas can't be compared: {why}", file=sys.stderr)
        return 2
    assert old is not None  # noqa: S101 - just fetched
    assert new is not None  # noqa: S101 - just fetched
    changed = difference(old, new)
    for line in changed:
        print(line)
    print(f"{PACKAGE} {old.version} in use, {new.version} is the newest: {len(changed)} operations in use differ")
    return 1 if changed else 0


def difference(old: Schemas, new: Schemas) -> list[str]:
    """The operations that we use and whose request schema changed, one line each."""
    used = [name for name in old.operations if name.endswith(("Endpoint", "Template", "NetworkVolume", "Registry"))]
    lines = []
    for name in sorted(used):
        if name not in new.operations:
            lines.append(f"{name}: is gone")
        elif _without_prose(old.operations[name]) != _without_prose(new.operations[name]):
            lines.append(f"{name}: its request changed")
    return lines


def _without_prose(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_prose(one) for key, one in schema.items() if key not in ("description", "examples")}
    if isinstance(schema, list):
        return [_without_prose(one) for one in schema]
    return schema


if __name__ == "__main__":
    raise SystemExit(main())
