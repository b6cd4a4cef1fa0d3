"""The environment that points the ordinary tools at a sandbox: the engine, its plugins, boto3, the vendors' SDKs.

Nothing but these variables tells a component where it runs.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Final

from headrace.errors import refuse
from headrace_sandbox import cache, engine, supervise
from headrace_sandbox.service import SandboxContext

# Plugin name -> (the module that plays it, the distribution whose version it carries).
PLUGINS: Final = {
    "aws": ("headrace_sandbox.aws_provider", "pulumi-aws"),
    "kubernetes": ("headrace_sandbox.kubernetes_provider", "pulumi-kubernetes"),
}
# Any credentials do in the sandbox, so these are ones that could open nothing elsewhere (AWS documents this key as an
# example: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html).
_SANDBOX_CREDENTIAL: Final = "sandbox"
ROOT_CREDENTIALS: Final = ("AKIAIOSFODNN7EXAMPLE", _SANDBOX_CREDENTIAL)
DEFAULT_REGION: Final = "us-east-1"
# Sandbox endpoint -> variables that lead a client there.
_ENDPOINTS: Final = {
    "aws": ("AWS_ENDPOINT_URL",),
    "runpod": ("RUNPOD_REST_URL",),
    "runpod-jobs": ("RUNPOD_ENDPOINT_BASE_URL",),
    "modal": ("MODAL_SERVER_URL",),
}


def tool_environment(found: engine.Engine) -> dict[str, str]:
    """PATH and settings for `found` as a person's own engine: their backend, their accounts, their plugins."""
    # The environment's own `pulumi` (see wrapper) comes first, so that typed commands read the right configuration.
    folders = [Path(sys.executable).parent, *found.search_path()]
    rest = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    own = [str(folder) for folder in folders]
    return {
        "PATH": os.pathsep.join([*own, *(entry for entry in rest if entry not in own)]),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def sandbox_credentials() -> tuple[str, str]:
    """Access key and secret key of a boto3 session that works in the sandbox as nobody in particular."""
    return ROOT_CREDENTIALS


def operator_file(context: SandboxContext) -> Path:
    """The session of the role as which the engine works (see prerequisites), readable by its owner alone."""
    return context.directory / "operator.json"


def _credentials(context: SandboxContext) -> dict[str, str]:
    file = operator_file(context)
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {name: str(value) for name, value in kept.items() if name.startswith("AWS_")}
    key, secret = ROOT_CREDENTIALS
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}


def engine_environment(
    context: SandboxContext, *, found: engine.Engine | None = None, region: str | None = None
) -> dict[str, str]:
    """Everything that makes `found` (by default the engine `find` finds) deploy into the sandbox of `context`.

    Variables to add to the process's own environment. State, plugins and the passphrase lie beside the sandbox, so
    that nothing of it mixes with the user's `~/.pulumi`. Needs the sandbox to be up for its endpoints.
    """
    using = found or engine.find()
    base = context.directory.parent
    tools = tool_environment(using)
    known = supervise.endpoints(context.directory)
    state = base / "state"
    state.mkdir(parents=True, exist_ok=True)
    environment = {
        **tools,
        "PATH": f"{context.bin}{os.pathsep}{tools['PATH']}",
        "PULUMI_HOME": str(base / "pulumi-home"),
        # Without the sidecar files for attributes: unlike the state they are not written atomically, and an engine that
        # is killed while it writes one leaves a stack that no command can load ("failed to load checkpoint: EOF").
        "PULUMI_BACKEND_URL": f"file://{state}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(_passphrase(base / "passphrase")),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "HEADRACE_SANDBOX_DIR": str(context.directory),
        **_credentials(context),
        "AWS_REGION": region or os.environ.get("AWS_REGION") or DEFAULT_REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "RUNPOD_API_KEY": _SANDBOX_CREDENTIAL,
        "MODAL_TOKEN_ID": _SANDBOX_CREDENTIAL,
        "MODAL_TOKEN_SECRET": _SANDBOX_CREDENTIAL,
        "MODAL_PROXY_TOKEN_ID": _SANDBOX_CREDENTIAL,
        "MODAL_PROXY_TOKEN_SECRET": _SANDBOX_CREDENTIAL,
        # The SDK would otherwise read the user's own account from ~/.modal.toml.
        "MODAL_CONFIG_PATH": str(base / "modal.toml"),
    }
    for name, variables in _ENDPOINTS.items():
        if name in known:
            environment.update(dict.fromkeys(variables, known[name]))
    return environment


def unset() -> tuple[str, ...]:
    """Variables of the user's own shell that would win over the sandbox's and must not reach the engine."""
    return ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN")


def process_environment(context: SandboxContext, *, found: engine.Engine | None = None) -> dict[str, str]:
    """A whole environment for a child process that works in the sandbox."""
    kept = {name: value for name, value in os.environ.items() if name not in unset()}
    return {**kept, **engine_environment(context, found=found)}


def install_plugins(context: SandboxContext, found: engine.Engine) -> None:
    """Put the provider plugins that this sandbox plays where the engine looks for the official ones."""
    home = context.directory.parent / "pulumi-home"
    with cache.locked(home / ".headrace-plugins.lock", what="install plugins"):
        for name, (module, distribution) in PLUGINS.items():
            if importlib.util.find_spec(f"{module}.__main__") is None:
                continue
            version = importlib.metadata.version(distribution)
            script = context.directory / "plugins" / f"pulumi-resource-{name}"
            text = f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n'
            installed = home / "plugins" / f"resource-{name}-v{version}" / script.name
            if installed.is_file() and installed.read_text(encoding="utf-8") == text:
                continue
            engine.write_script(script, text)
            _install_plugin(found, context, name, version, script)


def _install_plugin(found: engine.Engine, context: SandboxContext, name: str, version: str, script: Path) -> None:
    argv = [str(found.path), "plugin", "install", "resource", name, version, "--file", str(script), "--reinstall"]
    done = subprocess.run(  # noqa: S603 - our own argv
        argv, env=process_environment(context, found=found), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise refuse(
            f"plugin {name}",
            version,
            f"the engine did not install it: {' '.join(done.stderr.split())[-300:]}",
            next_step="remove .headrace/pulumi-home and run the command again",
        )


def _passphrase(file: Path) -> Path:
    """The sandbox's own random passphrase, made once, readable by its owner alone."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
            handle.write(secrets.token_urlsafe(32))
        try:
            os.link(partial, file)  # fails where another process was first: then its passphrase is the one
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return file


def current() -> SandboxContext | None:
    """The sandbox of this checkout (or of HEADRACE_SANDBOX_DIR) if any part of it runs, else None."""
    directory = supervise.default_directory()
    return supervise.open_context(directory) if supervise.running(directory) else None
