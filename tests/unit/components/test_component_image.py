"""The router's image: what goes into it is what the project's lock says, and all that the router imports."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

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
    asked = [*project["dependencies"], *project["optional-dependencies"]["router"]]
    names = {re.split(r"[^A-Za-z0-9._-]", one)[0].lower().replace("_", "-").replace(".", "-") for one in asked}
    assert names <= set(pins(IMAGE / "requirements.txt")), "run the command of docs/components/router.md again"


def test_the_image_is_pinned_and_runs_as_nobody() -> None:
    text = (IMAGE / "Dockerfile").read_text(encoding="utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert set(bases) <= {"${PYTHON}", "${UV}"}, "every base is given by digest when it is built"
    assert "--require-hashes" in text
    assert re.search(r"^ADD --checksum=sha256:", text, re.MULTILINE), "a download without a checksum is no pin"
    last = text[text.rindex("\nFROM ") :]
    assert "USER 10001:10001" in last, "the user that the pod's security context names"
