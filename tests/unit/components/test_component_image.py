"""The router's image: what goes into it is what the project's lock says, and all that the router imports."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from headrace_components import data_stores, serving

ROOT = Path(__file__).resolve().parents[3]
IMAGE = ROOT / "images" / "router"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Package -> (version, hashes)."""
    found: dict[str, tuple[str, set[str]]] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if pinned := _PIN.match(line):
            name = pinned[1].lower().replace("_", "-").replace(".", "-")
            found[name] = (pinned[2], set())
        if name and (digest := _HASH.search(line)):
            found[name][1].add(digest[1])
    return {name: (version, frozenset(hashes)) for name, (version, hashes) in found.items()}


def test_every_package_of_the_image_is_the_locks() -> None:
    lock, image = pins(ROOT / "requirements.lock"), pins(IMAGE / "requirements.txt")
    assert image, "the file names packages"
    different = sorted(name for name, pin in image.items() if lock.get(name) != pin)
    assert different == [], f"run the command of docs/components/router.md again: {different}"
    assert all(hashes for _, hashes in image.values()), "each with its hashes"


def test_every_dependency_of_the_router_is_in_its_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["router"], *extras["hourly"]]
    names = {re.split(r"[^A-Za-z0-9._-]", one)[0].lower().replace("_", "-").replace(".", "-") for one in asked}
    assert names <= set(pins(IMAGE / "requirements.txt")), "run the command of docs/components/router.md again"


def test_the_hourly_job_needs_nothing_that_the_image_lacks() -> None:
    """All that a run imports, taken from the lock by the names that the image doesn't have."""
    lacking = (
        "polars",
        "scipy",
        "statsforecast",
        "matplotlib",
        "numba",
        "jinja2",
        "typst",
        "highspy",
        "pulumi",
        "modal",
    )
    assert not {*lacking} & set(pins(IMAGE / "requirements.txt")), "guard: the image doesn't have them"
    modules = ("headrace.cli.plan_hourly", "headrace.planner.hourly_run", "headrace.planner.hourly_fleet")
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({lacking!r}))\n"
        f"for module in {modules!r}: importlib.import_module(module)\n"
        "from headrace.catalog.price import price_book\n"
        "price_book().rules('runpod')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_image_is_pinned_and_runs_as_nobody() -> None:
    text = (IMAGE / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    outside = {base for base, _ in stages} - {name for _, name in stages}
    assert outside == {"${PYTHON}", "${UV}"}, "every base is given by digest when it is built"
    assert "# syntax=" not in text.splitlines()[0], "a front end is loaded by a tag, which can be moved"
    assert "--require-hashes" in text
    assert re.search(r"^ADD --checksum=sha256:", text, re.MULTILINE), "a download without a checksum is no pin"
    last = text[text.rindex("\nFROM ") :]
    assert f"USER {serving.USER_ID}:{serving.USER_ID}" in last, "the user that the pod's security context names"
    assert data_stores.CERTIFICATES in last, "the file that the database's address names"


def test_nothing_but_what_the_image_is_built_from_reaches_the_builder() -> None:
    """A checkout holds environments, caches and credentials of the sandbox."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in rules if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {line.removeprefix("!") for line in rules if line.startswith("!")}
    text = (IMAGE / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
        if not source.startswith("--")
    }
    assert {one if one in let_in else str(Path(one).parent) for one in copied} == let_in


def test_the_images_package_has_the_name_and_version_of_the_project(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, IMAGE / "metadata.py", ROOT / "pyproject.toml", tmp_path], check=False)
    assert done.returncode == 0
    (found,) = distributions(path=[str(tmp_path)])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (found.metadata["Name"], found.version) == (project["name"], project["version"])
