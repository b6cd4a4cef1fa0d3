"""`python -m headrace.router.litellm`: one replica inside LiteLLM, in LiteLLM's environment.

`headrace router litellm serve` starts it; an image runs it directly. Options and environment are those of
`headrace router serve`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headrace.errors import Refused, refuse
from headrace.router.litellm import versions

if TYPE_CHECKING:
    from headrace.router.litellm.base import Merged

_EXIT_REFUSED = 2


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="headrace router litellm serve")
    for name in ("--config", "--keys", "--spool"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--admin-port", type=int, default=8081)
    parser.add_argument("--replica", default="router-0")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--keep-model", action="append", default=[])
    parser.add_argument("--keep-callback", action="append", default=[])
    given = parser.parse_args()
    try:
        versions.check_own()
        _serve(given)
    except Refused as refused:
        for problem in refused.problems:
            print(f"headrace: {problem}", file=sys.stderr)
        return _EXIT_REFUSED
    return 0


def _serve(given: argparse.Namespace) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(given))


async def _run(given: argparse.Namespace) -> None:
    from headrace.router import options as starting
    from headrace.router.keys import load_keys
    from headrace.router.litellm import application, base
    from headrace.router.litellm.exchange import Application, ProxyExchange
    from headrace.router.litellm.rehearsal import rehearse
    from headrace.router.litellm.transport import PoolTransport
    from headrace.router.telemetry import log_to_stderr

    log_to_stderr()
    asyncio.get_running_loop().set_exception_handler(application.log_kinds_only)
    options = starting.Options(
        config=given.config,
        keys=given.keys,
        spool=given.spool,
        host=given.host,
        port=given.port,
        admin_port=given.admin_port,
        replica=given.replica,
        **starting.from_environment(),
    )
    policy = starting.read_config(given.config)
    load_keys(_keys(given.keys), policy)  # refused now, and not after LiteLLM has taken its time to start
    merged = base.rendered(policy, given.base, tuple(given.keep_model), tuple(given.keep_callback))
    for name in merged.replaced:
        print(f"headrace: {name} of {given.base} is served by the router's pools now", file=sys.stderr)
    folder = (given.spool.parent / f"litellm-{given.replica}").resolve()
    application.prepare(merged, folder)
    application.refuse_missing(merged.modules, folder)
    app = _litellm(PoolTransport(tuple(one["litellm_params"]["api_base"] for one in merged.kept)))
    from headrace.router.litellm import hooks  # imports LiteLLM

    lifespan = application.Lifespan(cast(Application, app))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # a banner and a list of models
            await lifespan.start()
            application.quiet()
            _check_base(merged)
            await rehearse(cast(Application, app), policy, guarded=bool(merged.modules or merged.guardrails))
        hooks.last()
        log_to_stderr()  # LiteLLM sets up logging of its own while it is imported and started
        application.quiet()
        await _replica()(
            options, sink=_sink(), exchanger=functools.partial(ProxyExchange, application=cast(Application, app))
        ).run()
    finally:
        await lifespan.stop()


def _check_base(merged: Merged) -> None:
    """Refuses a LiteLLM that runs without one of the team's guardrails; names the models that it may keep."""
    from headrace.router.litellm import hooks

    hooks.keep(frozenset(one["model_name"] for one in merged.kept))
    absent = sorted(set(merged.guardrails) - hooks.guardrails())
    if absent:
        raise refuse(
            "--base",
            ", ".join(absent),
            "LiteLLM would run without this guardrail",
            reason="it takes its settings for wrong, and goes on",
            next_step="compare its litellm_params with LiteLLM's documentation",
        )


def _replica() -> type[Any]:
    """A router that tells LiteLLM of reloads. Imported after LiteLLM."""
    from headrace.router import serve as serving
    from headrace.router.litellm import hooks

    class Replica(serving.Router):
        def reload(self) -> bool:
            """LiteLLM learns of new pools in the same moment."""
            before = self.engine.policy
            done = super().reload()
            if done:
                hooks.use(self.engine.policy, before)
            return done

    return Replica


def _litellm(transport: Any) -> Any:
    """LiteLLM's application, with our transport as its only way out to pools."""
    import gc

    import httpx

    gc.disable()  # its objects all stay: collecting among them only takes time
    import litellm  # type: ignore[import-not-found] # it lives in an environment of its own
    from litellm.proxy.proxy_server import app  # type: ignore[import-not-found] # see above

    gc.enable()
    gc.freeze()
    litellm.aclient_session = httpx.AsyncClient(transport=transport, timeout=None)  # noqa: S113 - ours are stricter
    return app


def _keys(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise refuse("--keys", str(path), f"can't be read ({error.strerror})", next_step="check the path") from None


def _sink() -> Any:
    dsn = os.environ.get("HEADRACE_POSTGRES_DSN")
    if not dsn:
        return None
    from headrace.audit.sinks.postgres import PostgresSink

    return PostgresSink(dsn)


if __name__ == "__main__":
    sys.exit(main())
