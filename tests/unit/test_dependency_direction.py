"""The rule of dependency: stacks -> components -> headrace; policies -> headrace; sandbox -> what `ALLOWED` shares."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("headrace", "headrace_components", "headrace_policies", "headrace_sandbox")

SHARED_WITH_SANDBOX = ("headrace.settings", "headrace.errors", "headrace.catalog", "headrace.protocol")

# folder -> prefixes of our own modules that it may import. `headrace.cli` is the application on top: it may import all.
ALLOWED = {
    "headrace": ("headrace",),
    "components/headrace_components": ("headrace_components", "headrace"),
    "policies/headrace_policies": ("headrace_policies", "headrace"),
    "sandbox/headrace_sandbox": ("headrace_sandbox", *SHARED_WITH_SANDBOX),
    "stacks": ("headrace_components", "headrace"),
}


class _WithoutTypes(ast.NodeTransformer):
    """Drops what only the type checker reads."""

    def visit_If(self, node: ast.If) -> list[ast.stmt] | ast.If:
        self.generic_visit(node)
        for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return node.orelse if for_types else node


@functools.cache
def _imports(path: Path, *, types: bool = True) -> set[str]:
    """Every absolute module imported anywhere in a file, function bodies included; `types`: for type checking too."""
    found: set[str] = set()
    text = path.read_text(encoding="utf-8")
    if not types and "TYPE_CHECKING" not in text:
        return _imports(path)
    tree = ast.parse(text)
    for node in ast.walk(tree if types else _WithoutTypes().visit(tree)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def _files(folder: str) -> list[Path]:
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if "cli" not in path.relative_to(ROOT).parts[:2]]


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in _files(folder)
        for module in _imports(path)
        if _within(module, OURS) and not _within(module, ALLOWED[folder])
    }
    assert not wrong, f"against the rule of dependency: {sorted(wrong)}"


def test_nothing_imports_the_command_line() -> None:
    wrong = {
        str(path.relative_to(ROOT))
        for folder in ALLOWED
        for path in _files(folder)
        if any(_within(module, ("headrace.cli",)) for module in _imports(path))
    }
    assert not wrong, f"the command line is on top, nothing may import it: {sorted(wrong)}"


def test_the_library_does_not_import_pulumi() -> None:
    wrong = {
        str(path.relative_to(ROOT))
        for path in _files("headrace")
        if any(
            _within(module, ("pulumi", "pulumi_aws", "pulumi_kubernetes", "pulumi_policy"))
            for module in _imports(path, types=False)
        )
    }
    assert not wrong, f"only components, policies and the sandbox's plugins may import pulumi: {sorted(wrong)}"
