"""`python -m headrace_sandbox.aws.moto_process`: moto's server, on loopback, with a memory that outlives it.

moto keeps its world in memory only. Calls that change it are written to a journal with the seed that moto's random
numbers had, and replayed at start, so ids, ARNs and keys come out the same (and, with the clock set back for
each replay, the dates as well). Requests are served one at a time: moto's backends are not made for threads.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import os
import secrets
import signal
import sqlite3
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID

from headrace_sandbox.aws import moto_mended

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

HEALTH_PATH = "/_sandbox/health"
JOURNAL_HEADER = "HTTP_X_HEADRACE_JOURNAL"
OUTCOME_HEADER = "X-Headrace-Outcome"
"""`unsupported` where moto has no such operation, `fault` where it broke; absent otherwise."""

_KEPT = (
    "REQUEST_METHOD",
    "PATH_INFO",
    "RAW_URI",
    "REQUEST_URI",
    "QUERY_STRING",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTP_HOST",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "wsgi.url_scheme",
    "moto.preserved_header_names",
)
_SCHEMA = "CREATE TABLE IF NOT EXISTS calls (n INTEGER PRIMARY KEY, at REAL, seed TEXT, environ TEXT, body BLOB)"


class Journal:
    """The calls that changed moto's world, in order."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # what a cloud keeps: sessions and secrets too
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(_SCHEMA)

    def append(self, at: float, seed: str, environ: Environ, body: bytes) -> None:
        """Remember one call."""
        kept = {k: v for k, v in environ.items() if k in _KEPT or k.startswith("HTTP_")}
        self._db.execute(
            "INSERT INTO calls (at, seed, environ, body) VALUES (?,?,?,?)", (at, seed, json.dumps(kept), body)
        )

    def calls(self) -> Iterable[tuple[float, str, Environ, bytes]]:
        """Everything remembered."""
        for at, seed, environ, body in self._db.execute(
            "SELECT at, seed, environ, body FROM calls ORDER BY n"
        ).fetchall():
            yield at, seed, json.loads(environ), body


class Clock:
    """Stands in for the `datetime` module in moto.core.utils, whose helpers every backend asks for the time."""

    def __init__(self) -> None:
        self.frozen_at: float | None = None
        clock = self

        class Datetime(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]  # a plain datetime, as moto's code expects
                at = time.time() if clock.frozen_at is None else clock.frozen_at
                return datetime.datetime.fromtimestamp(at, tz)

        self.module = types.SimpleNamespace(datetime=Datetime)


class Application:
    """moto's WSGI application behind a lock, a seed per call and the journal."""

    def __init__(self, journal: Journal) -> None:
        from moto.core import utils
        from moto.moto_api._internal import mock_random
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._journal = journal
        self._random = mock_random

        class Dispatcher(DomainDispatcherApplication):
            def get_backend_for_host(self, host: str | None) -> Any:
                backend = super().get_backend_for_host(host)
                if host is not None and backend is None:
                    raise NotImplementedError(f"moto has no service for {host}")
                return backend

        self._moto = Dispatcher(create_backend_app)
        self._lock = threading.Lock()
        self._clock = Clock()
        self._born: set[tuple[str, str]] = set()
        self._wake()
        vars(utils)["datetime"] = self._clock.module  # the one place where moto's helpers read the time

    def replay(self) -> int:
        """Do every remembered call again; returns how many."""
        count = 0
        for at, seed, environ, body in self._journal.calls():
            self._clock.frozen_at = at
            environ |= {
                "wsgi.input": io.BytesIO(body),
                "wsgi.errors": sys.stderr,
                "wsgi.version": (1, 0),
                "wsgi.multithread": True,
                "wsgi.multiprocess": False,
                "wsgi.run_once": False,
            }
            self._run(environ, seed)
            count += 1
        self._clock.frozen_at = None
        return count

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == HEALTH_PATH:  # asks nothing of moto: its own pages wake every backend there is
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ready"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(body)
        seed = secrets.token_hex(16)
        remembered = dict(environ)
        with self._lock:
            at = self._clock.frozen_at = time.time()  # the call's time stands still, so that its replay shows the same
            status, headers, content = self._run(environ, seed)
            self._clock.frozen_at = None
            if environ.get(JOURNAL_HEADER) and status[0] in "23":
                self._journal.append(at, seed, remembered, body)
        start_response(status, headers)
        return [content]

    def _run(self, environ: Environ, seed: str) -> tuple[str, list[tuple[str, str]], bytes]:
        region = environ.get("HTTP_X_HEADRACE_REGION", "us-east-1")
        for service in ("ec2", environ.get("HTTP_X_HEADRACE_SERVICE", "sts")):
            self._birth(service, region)
        answer: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            answer[:] = [status, headers]

        try:
            self._moto.get_application(
                environ
            )  # imports a service's code, which draws, before the seed of the call is set
            self._random.seed(seed)
            content = b"".join(self._moto(environ, start))
        except NotImplementedError as error:
            return _outcome("501 Not Implemented", "unsupported", str(error))
        except Exception as error:
            traceback.print_exc()
            return _outcome("500 Internal Server Error", "fault", f"{type(error).__name__}: {error}")
        status, headers = answer
        # The answer to HEAD never has a body: there, 404 is moto's own word (HeadBucket of a bucket that is gone).
        if status.startswith("404") and not content and environ["REQUEST_METHOD"] != "HEAD":
            return _outcome("501 Not Implemented", "unsupported", "moto has no such operation")
        return status, [(k, v) for k, v in headers if k.lower() not in ("connection", "date", "server")], content

    def _wake(self) -> None:
        """Make what any first call makes inside moto (IAM with its managed policies, which draw ids, is asked for the
        account of every access key), so that a replayed call finds what it found in the first life."""
        from werkzeug.test import EnvironBuilder

        scope = "Credential=headrace/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0"
        request = EnvironBuilder(
            method="POST",
            base_url="http://127.0.0.1",
            data={"Action": "GetCallerIdentity", "Version": "2011-06-15"},
            headers=[("Authorization", f"AWS4-HMAC-SHA256 {scope}")],
        )
        for service in ("iam", "sts", "ec2"):
            self._birth(service, "us-east-1")
        self._run(request.get_environ(), "first")

    def _birth(self, service: str, region: str) -> None:
        """What a service makes when it is first used in a region (a default VPC) gets ids that must not depend on which
        call comes first."""
        if (service, region) in self._born:
            return
        self._born.add((service, region))
        try:
            backends = get_backend(cast("Any", service))[DEFAULT_ACCOUNT_ID]
        except ImportError:
            return  # moto has no such service; the call itself will tell
        moto_mended.mend(service)
        for place in (region, "aws"):  # a global service has one backend per partition
            self._random.seed(f"birth of {service} in {place}")
            with contextlib.suppress(KeyError):
                _ = backends[place]
                return


def _outcome(status: str, outcome: str, text: str) -> tuple[str, list[tuple[str, str]], bytes]:
    return status, [("Content-Type", "text/plain"), (OUTCOME_HEADER, outcome)], text.encode()


def main() -> None:
    """Serve until SIGTERM."""
    options = argparse.ArgumentParser(description="moto with a memory, for the Headrace sandbox (a stand-in for AWS)")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--directory", type=Path, required=True)
    chosen = options.parse_args()
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    os.environ.setdefault("MOTO_EKS_ALWAYS_ACTIVE", "true")
    os.environ["MOTO_PORT"] = str(chosen.port)
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    class Handler(MotoRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log(self, type: str, message: str, *args: object) -> None:
            if type == "error":
                super().log(type, message, *args)

    application = Application(Journal(chosen.directory / "moto.sqlite"))
    started = time.monotonic()
    count = application.replay()
    sys.stderr.write(f"replayed {count} calls in {time.monotonic() - started:.2f} s\n")
    server = make_server("127.0.0.1", chosen.port, application, threaded=True, request_handler=Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
