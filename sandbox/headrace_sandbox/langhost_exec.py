"""Runs one Pulumi program: the child process of the language host. Its request is one JSON object on stdin."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import runpy
import sys
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import pulumi
import pulumi.runtime
from pulumi.runtime import set_all_config
from pulumi.runtime.settings import reset_options

# The SDK's own convention: the program failed and the user has been shown why.
EXIT_SHOWN: Final = 32


def explain(error: BaseException) -> str:
    """What a person reads of a program's failure: a refusal is its sentences, anything unforeseen its traceback."""
    refused = getattr(sys.modules.get("headrace.errors"), "Refused", None)
    if (refused is not None and isinstance(error, refused)) or isinstance(error, pulumi.RunError):
        return str(error)
    if isinstance(error, grpc.Call):
        return f"RPC error: {error.details()}"
    shown = "".join(traceback.format_exception(error))
    return f"Program failed with an unhandled exception:\n{shown}"


def run(asked: Mapping[str, Any]) -> int:
    """Configure the SDK as asked, run the program, report what went wrong; the exit code."""
    reset_options(
        project=asked["project"],
        stack=asked["stack"],
        root_directory=asked["root_directory"],
        parallel=asked["parallel"],
        engine_address=asked["engine_address"],
        monitor_address=asked["monitor_address"],
        preview=asked["preview"],
        organization=asked["organization"],
    )
    set_all_config(asked["config"], asked["secret_keys"])
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(asked["parallel"], 1) * 4))
    program = asked["program"]
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: _run_program(program)))
    except KeyboardInterrupt:
        return 130
    except grpc.RpcError as error:
        if isinstance(error, grpc.Call) and error.code() == grpc.StatusCode.UNAVAILABLE:
            return EXIT_SHOWN  # the engine is shutting down and says so itself
        pulumi.log.error(explain(error))
        return EXIT_SHOWN
    except Exception as error:  # the program is the user's: whatever it raises is reported, not ours to sort
        pulumi.log.error(explain(error))
        return EXIT_SHOWN
    return 0


def _run_program(program: str) -> None:
    runpy.run_path(program, run_name="__main__")


def main() -> None:
    asked = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # the SDK reports failures of tasks itself
    code = run(asked)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the SDK's threads may still hold calls that nobody waits for


if __name__ == "__main__":
    main()
