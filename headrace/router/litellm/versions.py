"""Which LiteLLM may run: compromised releases are refused by name, untested ones and the proprietary part too.

An environment is judged from outside, by the metadata files in it: malicious code in a `.pth` file runs as soon as the
environment's Python starts, so asking that Python would be too late.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from headrace.catalog.load import compromised_releases
from headrace.errors import Problem, Refused

# The release whose hooks the contract tests ran against, and that requirements-litellm.lock pins. The vendor advised
# 1.106.2 or earlier after 1.107.0 was found to be malicious (see the catalogue's compromised releases).
TESTED: Final = "1.106.2"
PROPRIETARY: Final = "litellm-enterprise"
# What an environment may hold beside the lock: ourselves, and what makes environments.
_OURS: Final = frozenset({"headrace", "pip", "setuptools", "wheel"})
# Files that Python runs when it starts, and that are known: of virtualenv and of setuptools.
_STARTERS: Final = frozenset({"_virtualenv.pth", "distutils-precedence.pth"})
_LOCKED: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.M)


def normalized(name: str) -> str:
    """A distribution's name as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def problems(
    installed: Mapping[str, str], *, where: str, locked: Mapping[str, frozenset[str]] | None = None
) -> list[Problem]:
    """What is wrong with an environment: `installed` and `locked` hold versions by normalized name. Pure."""
    found = [
        Problem(
            path=where,
            value=f"{row.package} {version}",
            rule="this release is known to be compromised",
            reason=row.reason,
            next_step="delete the environment, change all secrets it could read, install requirements-litellm.lock",
        )
        for row in compromised_releases().values()
        if (version := installed.get(normalized(row.package))) in row.versions
    ]
    if PROPRIETARY in installed:
        found.append(
            Problem(
                path=where,
                value=PROPRIETARY,
                rule="the proprietary part of LiteLLM must not be installed",
                reason="its use in production needs a paid agreement",
                next_step="install requirements-litellm.lock, which leaves out the extra that brings it",
            )
        )
    version = installed.get("litellm")
    if version is None:
        found.append(
            Problem(
                path=where,
                value=None,
                rule="LiteLLM is not installed there",
                reason="",
                next_step="install requirements-litellm.lock",
            )
        )
    elif version != TESTED and not found:
        found.append(
            Problem(
                path=where,
                value=f"litellm {version}",
                rule=f"only litellm {TESTED} is known to be good",
                reason="limits and hooks changed their meaning between releases before",
                next_step="install requirements-litellm.lock",
            )
        )
    if locked is not None:
        found += [
            Problem(
                path=where,
                value=f"{name} {version}",
                rule=f"the lock pins {' or '.join(sorted(locked[name]))}" if name in locked else "the lock has none",
                reason="",
                next_step="install requirements-litellm.lock into a new environment",
            )
            for name, version in sorted(installed.items())
            if name not in _OURS and name != "litellm" and version not in locked.get(name, ())
        ]
    return found


def read_lock(text: str) -> dict[str, frozenset[str]]:
    """Versions by normalized name in a lock file; several where they differ by Python or machine."""
    found: dict[str, frozenset[str]] = {}
    for name, version in _LOCKED.findall(text):
        found[normalized(name)] = found.get(normalized(name), frozenset()) | {version}
    return found


def installed_in(site_packages: Path) -> dict[str, str]:
    """Versions by normalized name of what lies in a folder; nothing of it is imported or run."""
    return _versions(distributions(path=[str(site_packages)]))


def site_packages_of(environment: Path) -> Path:
    """Where a virtual environment keeps its packages."""
    found = sorted(environment.glob("lib/python3.*/site-packages"))
    return found[0] if found else environment / "lib"


def starters(site_packages: Path) -> list[Problem]:
    """Files that run as soon as the environment's Python starts. The compromised releases came with such files, which
    an exchange of the package may leave behind; nothing in the lock has one."""
    named = [*site_packages.glob("*.pth"), *site_packages.glob("sitecustomize*"), *site_packages.glob("usercustomize*")]
    return [
        Problem(
            path=str(site_packages),
            value=name,
            rule="nothing may run when the environment's Python starts",
            reason="malicious releases of LiteLLM hid their code in such files",
            next_step="look at the file, and install requirements-litellm.lock into a new environment",
        )
        for name in sorted({file.name for file in named} - _STARTERS)
    ]


def check(site_packages: Path, *, lock: str | None = None) -> str:
    """LiteLLM's version in a folder. Raises `Refused` with everything that is wrong there.

    With a `lock` the folder holds exactly what that pins, and nothing that runs by itself.
    """
    installed = installed_in(site_packages)
    wrong = problems(installed, where=str(site_packages), locked=read_lock(lock) if lock is not None else None)
    if lock is not None:
        wrong += starters(site_packages)
    if wrong:
        raise Refused(*wrong)
    return installed["litellm"]


def check_own() -> str:
    """The same for the environment that this process runs in, before LiteLLM is imported."""
    installed = _versions(distributions())
    wrong = problems(installed, where=sys.prefix)
    if wrong:
        raise Refused(*wrong)
    return installed["litellm"]


def _versions(found: Iterable[Distribution]) -> dict[str, str]:
    versions: dict[str, str] = {}
    for item in found:
        versions.setdefault(normalized(str(item.metadata["Name"])), item.version)
    return versions
