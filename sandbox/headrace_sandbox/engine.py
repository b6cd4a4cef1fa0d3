"""Find the Pulumi engine, or make one: PATH, then the vendor's installer, then a build from its Go module."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import refuse
from headrace_sandbox import cache, checkout, gobuild

MODULE: Final = "pulumi"
LANGUAGE_HOST: Final = "pulumi-language-python"
_INSTALLER: Final = "https://get.pulumi.com"
# Reaching the vendor takes well under a second where it can be reached; without a network nobody should wait for more.
_CONNECT_S: Final = 4.0
_INSTALL_S: Final = 180.0

Version = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A Pulumi CLI. `language_host` is the official Python host that belongs to it; None where ours has to serve."""

    path: Path
    version: str
    source: str
    language_host: Path | None

    def search_path(self) -> list[Path]:
        """Folders that belong on PATH so that the CLI and its Python language host are found."""
        host = self.language_host or _own_language_host()
        return [self.path.parent, *([host.parent] if host.parent != self.path.parent else [])]


def parse_version(text: str) -> Version | None:
    """`v3.259.0` or `3.259.0-alpha.1` as three numbers."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(?:[-+].*)?", text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def satisfies(version: Version, wanted: str) -> bool:
    """Whether a version lies in a range such as `>=3.259.0 <4.0.0` (comparisons that must all hold; empty: any)."""
    for part in wanted.split():
        found = re.fullmatch(r"(>=|<=|>|<|=|==)?v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", part)
        if found is None:
            raise refuse(
                "requiredPulumiVersion",
                wanted,
                f"{part!r} is not a comparison with a version",
                next_step="write it like '>=3.259.0 <4.0.0'",
            )
        limit = (int(found[2]), int(found[3] or 0), int(found[4] or 0))
        holds = {
            ">=": version >= limit,
            "<=": version <= limit,
            ">": version > limit,
            "<": version < limit,
        }.get(found[1] or "=", version == limit)
        if not holds:
            return False
    return True


def find(project: Path | None = None) -> Engine:
    """The engine that the project in `project` accepts. Takes minutes on the first call where it has to be built."""
    wanted = checkout.required_version(project or checkout.root())
    return _from_path(wanted) or _kept(wanted) or _install() or _build(wanted)


def ready(project: Path | None = None) -> bool:
    """Whether `find` would return at once."""
    wanted = checkout.required_version(project or checkout.root())
    return _from_path(wanted) is not None or _kept(wanted) is not None or gobuild.built(MODULE)


def _version_of(binary: Path) -> Version | None:
    try:
        shown = subprocess.run(  # noqa: S603 - an executable named pulumi from the user's own PATH
            [str(binary), "version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(shown.stdout) if shown.returncode == 0 else None


def _from_path(wanted: str) -> Engine | None:
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        binary = Path(folder or ".") / "pulumi"
        if not os.access(binary, os.X_OK) or not binary.is_file() or is_wrapper(binary):
            continue
        version = _version_of(binary)
        if version is not None and satisfies(version, wanted):
            return _engine(binary, version, "PATH")
        return None  # the user's own, but too old or too new: the next one on PATH would surprise just as much
    return None


def is_wrapper(binary: Path) -> bool:
    """Whether an executable is the `pulumi` that make setup puts into the environment, which asks us in turn."""
    with binary.open("rb") as handle:
        return b"headrace_sandbox" in handle.read(512)


def _kept(wanted: str) -> Engine | None:
    """An engine that the vendor's installer brought earlier."""
    for folder in sorted((cache.root() / "engine").glob("*"), reverse=True):
        version = parse_version(folder.name)
        if version is not None and satisfies(version, wanted) and (folder / "bin" / "pulumi").is_file():
            return _engine(folder / "bin" / "pulumi", version, "vendor installer")
    return None


def _install() -> Engine | None:
    """Run the vendor's installer for the version we pin; None, without a word, where it can't be reached."""
    if gobuild.built(MODULE) or os.environ.get("HEADRACE_NO_INSTALLER"):
        return None
    made = gobuild.recipe(gobuild.MODULES / MODULE)
    script = _fetch_installer()
    if script is None:
        return None
    target = cache.root() / "engine" / made.version
    with cache.locked(cache.root() / "engine" / ".lock", what=f"install pulumi {made.version}"):
        if not target.exists() and not _run_installer(script, made.version, target):
            return None
    version = parse_version(made.version)
    binary = target / "bin" / "pulumi"
    return _engine(binary, version, "vendor installer") if version is not None and binary.is_file() else None


def _fetch_installer() -> str | None:
    import httpx  # 0.3 s that a cached engine need not pay

    try:
        answer = httpx.get(_INSTALLER, timeout=_CONNECT_S, follow_redirects=True)
    except httpx.HTTPError:
        return None
    return answer.text if answer.is_success and answer.text.startswith("#!") else None


def _run_installer(script: str, version: str, target: Path) -> bool:
    cache.say(f"pulumi {version}: installing with the vendor's installer")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        file = Path(folder) / "install.sh"
        file.write_text(script, encoding="utf-8")
        root = Path(folder) / "root"
        try:
            done = subprocess.run(  # noqa: S603 - the vendor's script, as its documentation says to run it
                ["/bin/sh", str(file), "--version", version, "--install-root", str(root), "--no-edit-path"],
                capture_output=True,
                timeout=_INSTALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode != 0 or not (root / "bin" / "pulumi").is_file():
            return False
        root.rename(target)
    return True


def _build(wanted: str) -> Engine:
    binary = gobuild.build(MODULE)
    version = parse_version(gobuild.recipe(gobuild.MODULES / MODULE).version)
    if version is None or not satisfies(version, wanted):
        raise refuse(
            "requiredPulumiVersion",
            wanted,
            "the version that is built from source here does not satisfy it",
            next_step=f"install a fitting pulumi on PATH, or change the pin in {gobuild.MODULES / MODULE}",
        )
    return _engine(_beside_language_host(binary), version, "built from source")


def _engine(binary: Path, version: Version, source: str) -> Engine:
    beside = binary.resolve().parent / LANGUAGE_HOST
    on_path = shutil.which(LANGUAGE_HOST)
    found = [host for host in (beside, Path(on_path) if on_path else None) if host is not None and host.is_file()]
    official = next((host for host in found if not is_wrapper(host)), None)
    return Engine(path=binary, version=".".join(map(str, version)), source=source, language_host=official)


def _own_language_host(key: str = "") -> Path:
    """The executable that starts our language host with this interpreter."""
    folder = hashlib.sha256(f"{sys.executable}\0{key}".encode()).hexdigest()[:16]
    script = cache.root() / "langhost" / folder / LANGUAGE_HOST
    write_script(script, f'#!/bin/sh\nexec "{sys.executable}" -m headrace_sandbox.langhost "$@"\n')
    return script


def _beside_language_host(binary: Path) -> Path:
    """The built CLI, linked into one folder with our language host: the engine looks for its bundled plugins beside its
    own executable (a symbolic link would be followed away from there), and warns about those it meets on PATH alone."""
    linked = _own_language_host(str(binary)).with_name(binary.name)
    if not linked.is_file() or not linked.samefile(binary):
        partial = linked.with_name(f".{linked.name}.{os.getpid()}")
        partial.unlink(missing_ok=True)
        os.link(binary, partial)
        partial.replace(linked)
    return linked


def write_script(path: Path, text: str) -> None:
    """An executable file, replaced in one rename and left alone when it says the same already."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.chmod(0o755)
    partial.replace(path)
