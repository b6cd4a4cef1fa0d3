"""Pulumi's language host for Python programs, for machines where the official one is absent.

Runs as the executable `pulumi-language-python ENGINE_ADDRESS`: prints its port and serves the engine's LanguageRuntime
protocol. Programs, plugins and policy packs run in processes of their own with this process's interpreter, as under the
official host, so nothing of a preview survives into the update.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Final

import grpc
from google.protobuf import empty_pb2

from headrace_sandbox.langhost_children import Children, language_pb2, language_pb2_grpc, plugin_pb2, relay
from headrace_sandbox.langhost_policy import PolicyProxy
from headrace_sandbox.plugin.engine import CHANNEL_OPTIONS

_ORPHAN_CHECK_S: Final = 1.0
# What the child exits with once the user has been shown why the program failed (the SDK's own convention).
EXIT_SHOWN: Final = 32


class PythonHost(language_pb2_grpc.LanguageRuntimeServicer):
    """The engine's requests, in the order in which a run meets them."""

    def __init__(self, engine_address: str, children: Children) -> None:
        self._engine_address = engine_address
        self._children = children

    def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def About(self, request: language_pb2.AboutRequest, context: grpc.ServicerContext) -> language_pb2.AboutResponse:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def GetRequiredPackages(
        self, request: language_pb2.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        # None ahead of time: every resource names its plugin and version when it registers, and the engine then loads
        # that one. Naming all that is installed would make a program wait for plugins that it never uses.
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(
        self, request: language_pb2.GetRequiredPluginsRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPluginsResponse:
        return language_pb2.GetRequiredPluginsResponse()

    def InstallDependencies(
        self, request: language_pb2.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        yield language_pb2.InstallDependenciesResponse(
            stdout=f"Nothing to install: programs run in {sys.prefix}, which make setup maintains.\n".encode()
        )

    def GetProgramDependencies(
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        direct = {name.lower() for name in _direct_dependencies()}
        found = sorted((item.metadata["Name"], item.version) for item in importlib.metadata.distributions())
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[
                language_pb2.DependencyInfo(name=name, version=version)
                for name, version in found
                if request.transitiveDependencies or name.lower() in direct
            ]
        )

    def Run(self, request: language_pb2.RunRequest, context: grpc.ServicerContext) -> language_pb2.RunResponse:
        """Run the program once. Its configuration goes over a pipe: an environment variable holds 128 KiB at most."""
        program = Path(request.info.program_directory) / request.info.entry_point
        asked = {
            "program": str(program),
            "project": request.project,
            "stack": request.stack,
            "root_directory": request.info.root_directory,
            "organization": request.organization or "organization",
            "parallel": request.parallel,
            "preview": request.dryRun,
            "monitor_address": request.monitor_address,
            "engine_address": request.args[0] if request.args else self._engine_address,
            "config": dict(request.config),
            "secret_keys": list(request.configSecretKeys),
        }
        argv = [sys.executable, "-u", "-P", "-m", "headrace_sandbox.langhost_exec"]
        process = self._children.start(argv, cwd=request.pwd or request.info.program_directory, env={}, pipes=False)
        assert process.stdin is not None  # noqa: S101 - start() makes the pipe
        try:
            process.stdin.write(json.dumps(asked).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended before it read: its exit code says why
        code = self._children.ended(process)
        if code == EXIT_SHOWN:
            return language_pb2.RunResponse(bail=True)
        if code != 0:
            how = f"ended with exit code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
            return language_pb2.RunResponse(error=f"the program {program} {how}")
        return language_pb2.RunResponse()

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a plugin or a policy pack, passing on what it prints until it ends or the engine hangs up."""
        folder = request.info.program_directory
        env = dict(entry.partition("=")[::2] for entry in request.env)
        if request.kind == "analyzer":
            yield from PolicyProxy(self._children, folder, list(request.args), env).serve(context)
            return
        argv = [sys.executable, "-u", folder, *request.args]
        process = self._children.start(argv, cwd=request.pwd or folder, env=env, pipes=True)
        context.add_callback(process.terminate)
        yield from relay(process)
        yield language_pb2.RunPluginResponse(exitcode=self._children.ended(process))

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._children.end_all()
        return empty_pb2.Empty()


def _direct_dependencies() -> list[str]:
    """What our own distribution asks for (the program's direct dependencies, extras included)."""
    wanted = importlib.metadata.requires("headrace") or []
    names = [entry.split(";")[0] for entry in wanted]
    return [name for entry in names for name in [_name(entry)] if name]


def _name(requirement: str) -> str:
    end = next((i for i, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return requirement[:end]


def main(argv: list[str] | None = None) -> None:
    """Serve until the engine ends us (SIGINT: it gives each plugin a process group and 5 s to go) or is gone."""
    plain = [argument for argument in (sys.argv[1:] if argv is None else argv) if not argument.startswith("-")]
    children = Children()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(PythonHost(plain[-1] if plain else "", children), server)
    port = server.add_insecure_port("127.0.0.1:0")
    stop = threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda _signal, _frame: stop.set())
    parent = os.getppid()
    server.start()
    print(port, flush=True)
    while not stop.wait(_ORPHAN_CHECK_S) and os.getppid() == parent:
        pass
    children.end_all()
    server.stop(0.2).wait(0.5)
    os._exit(0)  # pool threads may still wait for a child


if __name__ == "__main__":
    main()
