"""The configuration file that the engine gets for a stack of the sandbox.

The passphrase provider writes its salt into the stack's file, and the salt belongs to the passphrase, which here is
random per checkout. So that a committed `Pulumi.<stack>.yaml` stays as it is, the engine works on a copy with the salt
under the sandbox's folder, made anew from the committed file each time.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from headrace_sandbox import checkout

# The engine's commands that read a whole stack configuration (and its aliases for them).
COMMANDS: Final = frozenset({"preview", "pre", "up", "update", "refresh", "destroy", "down", "dn", "import", "watch"})
# Those of them that make sense on a stack that was never deployed.
DEPLOYING: Final = frozenset({"preview", "pre", "up", "update"})
VARIABLE: Final = "PULUMI_OPTION_CONFIG_FILE"  # any flag can be given as PULUMI_OPTION_<FLAG>; this one: --config-file
_SALT: Final = re.compile(r"^encryptionsalt: .*$", re.MULTILINE)


def _project_file(project: Path) -> dict[str, Any]:
    return dict(YAML(typ="safe").load((project / checkout.PROJECT_FILE).read_text(encoding="utf-8")))


def project_name(project: Path) -> str:
    """The project's name, empty where its file has none."""
    return str(_project_file(project).get("name") or "")


def source(project: Path, stack: str) -> Path:
    """The stack's committed file, where Pulumi.yaml says stack files lie."""
    return project / str(_project_file(project).get("stackConfigDir", ".")) / f"Pulumi.{stack}.yaml"


def settings(project: Path, stack: str) -> dict[str, Any]:
    """The `config:` part of a stack's file, unchecked; empty where there is none."""
    file = source(project, stack)
    loaded = YAML(typ="safe").load(file.read_text(encoding="utf-8")) if file.is_file() else None
    return dict(loaded.get("config") or {}) if isinstance(loaded, dict) else {}


def working_copy(project: Path, stack: str, base: Path) -> Path | None:
    """The file to give the engine: the stack's own if it names a secrets provider, else a salted copy under `base`.

    None when the stack has no file (the engine then makes one, as it does everywhere).
    """
    committed = source(project, stack)
    if not committed.is_file():
        return None
    text = committed.read_text(encoding="utf-8")
    if re.search(r"^(encryptionsalt|secretsprovider):", text, re.MULTILINE):
        return committed
    copy = base / "config" / committed.name
    salt = _SALT.search(copy.read_text(encoding="utf-8")) if copy.is_file() else None
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = copy.with_name(f".{copy.name}")
    partial.write_text(text.rstrip("\n") + "\n" + (f"{salt[0]}\n" if salt else ""), encoding="utf-8")
    partial.replace(copy)
    return copy


def chosen_stack(pulumi: Path, arguments: list[str], environment: dict[str, str]) -> str | None:
    """The stack that a command line means: its -s/--stack, PULUMI_STACK, else the one selected in this folder."""
    for place, argument in enumerate(arguments):
        if argument in {"-s", "--stack"} and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(("--stack=", "-s=")):
            return argument.partition("=")[2]
    if environment.get("PULUMI_STACK"):
        return environment["PULUMI_STACK"]
    shown = subprocess.run(  # noqa: S603 - the engine we found
        [str(pulumi), "stack", "--show-name"], capture_output=True, text=True, env=environment, check=False
    )
    return shown.stdout.strip() or None
