"""The router process: puts the parts together, keeps time, reloads, drains.

Start order: journal replayed and what a crash left open posted, leases, then the ports. Stop order: not ready, no new
requests, streams to their end (at most the drain time), spool flushed, leases given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import hashlib
import logging
import secrets
import signal
import time
from pathlib import Path
from typing import Final

from aiohttp import web

from headrace.audit.checkpoints import BucketStore, Checkpoints, key_of
from headrace.audit.sinks.base import Counts, Sink
from headrace.audit.sinks.drain import Drain
from headrace.audit.spool import Spool, replay
from headrace.catalog.load import allowed_jurisdictions, jurisdictions
from headrace.errors import Refused, refuse
from headrace.router.admin import Admin
from headrace.router.alerts import Webhook, amounts, message
from headrace.router.background import Background, every
from headrace.router.calendar import Calendar, min_instances
from headrace.router.callers import Callers
from headrace.router.engine import Engine, RetryBudget, request_id
from headrace.router.exchange import Exchange
from headrace.router.health import PoolLog
from headrace.router.http_server import Rules, Server
from headrace.router.journal import Journal, accounts_of
from headrace.router.keys import load_keys
from headrace.router.lease import Leaser, fixed
from headrace.router.metrics import Metrics
from headrace.router.options import Options, read, read_config
from headrace.router.process import raise_open_files
from headrace.router.server import HEADERS, Api, Exchanger
from headrace.router.starter import Starter
from headrace.router.telemetry import tracing
from headrace.router.thresholds import Alert
from headrace.router.turn import Services
from headrace.router.upstream import Upstream

_LOG: Final = logging.getLogger("headrace.router")
_TICK_S: Final = 0.2
_SCRAPE_S: Final = 1.0
_WATCH_S: Final = 1.0
_LAST_ANSWERS_S: Final = 1.0


class Router:
    """One replica, from start to stop."""

    def __init__(self, options: Options, *, sink: Sink | None = None, exchanger: Exchanger = Exchange) -> None:
        self.options = options
        self._exchanger = exchanger
        self.calendar = Calendar()
        policy = read_config(options.config)
        keys = load_keys(read(options.keys, "--keys"), policy)
        self.spool = _open(options.spool, options.replica)
        if self.spool.torn is not None:
            _LOG.warning("cut off a torn end of the journal", extra={"fields": {"bytes": self.spool.torn.bytes}})
        self.metrics = Metrics()
        journal = Journal(
            self.spool,
            secret=options.hash_secret,
            now_us=self.calendar.now_us,
            period=self.calendar.period,
        )
        ledger, period = replay(self.spool), self.calendar.period()
        told = {scope: account.spent for scope, account in accounts_of(ledger, period).items()}
        expired = journal.expire(ledger)
        if expired:
            _LOG.warning("posted requests and starts that a crash left open", extra={"fields": {"requests": expired}})
        self.leaser: Leaser | None = None
        self.engine = Engine(
            policy,
            clock=time.monotonic,
            period=period,
            leases=fixed(policy) if options.redis_url is None else {},
            accounts=accounts_of(ledger, period),
            told=told,
            on_alert=self._alert,
        )
        self.drain = Drain(self.spool, sink, failed=self.metrics.drain_failed) if sink is not None else None
        self._counts = sink if isinstance(sink, Counts) else None
        self.background = Background(self.metrics.background_failed)
        self.upstream: Upstream | None = None
        self.webhook = self._webhook()
        self.checkpoints = self._checkpoints()
        self._journal = journal
        self._keys = keys
        self._api: Api | None = None
        self._starter: Starter | None = None
        self._pool_log = PoolLog()
        self._why: str | None = "starting"
        self._instance = f"{options.replica}-{secrets.token_hex(6)}"
        self._server: Server | None = None
        self._admin: web.ServerRunner | None = None
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._digests = self._file_digests()

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the ports when everything behind them is there."""
        options = self.options
        raise_open_files()
        self.upstream = Upstream()
        services = Services(
            engine=self.engine,
            journal=self._journal,
            metrics=self.metrics,
            retries=RetryBudget(),
            callers=Callers(self.engine.policy.caller_breaker, secret=options.hash_secret),
        )
        self._api = Api(
            services,
            self.upstream,
            keys=self._keys,
            residencies={name: allowed_jurisdictions([name]) for name in jurisdictions()},
            instance=self._instance,
            tracing=tracing(self.engine.policy.environment),
            exchanger=self._exchanger,
        )
        self._starter = Starter(services, self.upstream, lambda: request_id(self._instance))
        self._tick()
        await self._scrape_all()  # how many model servers there are decides what a share is worth
        if options.redis_url is not None:
            from headrace.router.lease_redis import RedisLeaser

            self.leaser = RedisLeaser(
                options.redis_url,
                options.replica,
                self.engine,
                callers=services.callers,
                counts=self._counts,
                failed=self.metrics.background_failed,
            )
            await self.leaser.step()  # hears of the others
            await self.leaser.step()  # takes its part
        self.engine.tell_what_a_crash_left()
        self._begin_background()
        rules = Rules(headers=HEADERS, most_body=lambda: self.engine.policy.max_request_bytes)
        self._server = Server(self._api, rules)
        # What is here now stays for ever: the collector needn't look at it again in the middle of a request.
        gc.collect()
        gc.freeze()
        await self._server.listen(options.host, options.port)
        # Ready means that the port above is open.
        await self._listen_admin(Admin(services, ready=self.not_ready, behind=self._behind))
        _LOG.info("serving", extra={"fields": {"port": options.port, "policy": self.engine.policy.policy_version}})

    def _begin_background(self) -> None:
        """What goes on beside requests. Without time or shares no decision can be trusted."""
        begin = self.background.start
        begin("clock", lambda: every(_TICK_S, self._tick), essential=True)
        if self.leaser is not None:
            begin("shares", self.leaser.run, essential=True)
        if self._starter is not None:
            begin("starts", functools.partial(every, _TICK_S, self._starter.step))
        if self.upstream is not None:
            begin("connections", functools.partial(every, _TICK_S, self.upstream.sweep))
        begin("signals", self._scraping)
        begin("reload", self._watching)
        for name, work in (("drain", self.drain), ("alerts", self.webhook), ("checkpoints", self.checkpoints)):
            if work is not None:
                begin(name, work.run)

    def _behind(self) -> int:
        return self.drain.behind if self.drain is not None else 0

    async def _listen_admin(self, admin: Admin) -> None:
        server = web.Server(
            admin.handle,
            handler_cancellation=True,
            access_log=None,
        )
        self._admin = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_LAST_ANSWERS_S)
        await self._admin.setup()
        await web.TCPSite(self._admin, self.options.host, self.options.admin_port).start()

    def stop(self) -> None:
        """Asks the router to drain and stop."""
        self._stop.set()

    def reload_soon(self) -> None:
        """Asks the router to read its files again."""
        self._reload.set()

    async def run(self) -> None:
        """Serves until asked to stop."""
        loop = asyncio.get_running_loop()
        for sent in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sent, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload_soon)
        await self.start()
        await self._stop.wait()
        await self.shutdown()

    async def shutdown(self) -> None:
        """Drains: whoever waits is refused, whoever streams gets the drain time, all records reach the disk."""
        _LOG.info("draining", extra={"fields": {"inFlight": self.engine.in_flight}})
        self.engine.stop_waiting()
        if self._starter is not None:
            await self._starter.close()
        deadline = time.monotonic() + self.engine.policy.drain_timeout_s
        while self.engine.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if self._server is not None:
            self._server.stop_listening()
            await self._last_answers(self._server)
            self._server.close()
        if self._admin is not None:
            await self._admin.cleanup()
        if self.drain is not None:
            await self.drain.last()
        if self.checkpoints is not None:
            await self.checkpoints.last()
        if self.webhook is not None:
            await self.webhook.last()
        await self.background.stop()
        if self.drain is not None:
            await self.drain.close()
        if self.leaser is not None:
            await self.leaser.close()
        if self.upstream is not None:
            self.upstream.close()
        if self._api is not None:
            self._api.tracing.close()
        self.spool.close()
        _LOG.info("stopped", extra={"fields": {"entries": self.spool.durable}})

    async def _last_answers(self, server: Server) -> None:
        """A moment for answers that are written to reach their callers."""
        until = time.monotonic() + _LAST_ANSWERS_S
        while server.connections and time.monotonic() < until:
            await asyncio.sleep(0.01)

    def not_ready(self) -> str | None:
        """Why the router should get no requests; None when it can decide and can record."""
        if self._stop.is_set() or self.engine.draining:
            return "draining"
        trouble = self.spool.trouble
        if trouble is not None:
            return f"the journal can't be written ({trouble})"
        if self.options.redis_url is not None and not any(self.engine.state.leases.values()):
            return "no shares of the limits yet"
        if self.leaser is not None and self.leaser.counting:
            return "what was spent is being counted in the ledger"
        failing = self.background.failing()
        return f"background work fails: {failing}" if failing is not None else None

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self.calendar.now()
        self.engine.tick(period=now.strftime("%Y-%m"), min_instances=min_instances(self.engine.policy, now))
        self._tell_readiness(self.not_ready())
        self._pool_log.step(self.engine.state.pools, self.metrics.last_errors)

    def _tell_readiness(self, why: str | None) -> None:
        """The log says when and why the router stops being ready, and when it is again."""
        if why == self._why:
            return
        self._why = why
        if why is None:
            _LOG.info("ready")
        elif why != "draining":
            _LOG.error("not ready: no requests should come here", extra={"fields": {"reason": why}})

    async def _scraping(self) -> None:
        while True:
            await self._scrape_all()
            await asyncio.sleep(_SCRAPE_S)

    async def _scrape_all(self) -> None:
        pools = self.engine.policy.pools
        await asyncio.gather(*(self._scrape(name, pool.metrics_url) for name, pool in pools.items()))

    async def _scrape(self, name: str, url: str | None) -> None:
        if url is None or self.upstream is None:
            return
        found = await self.upstream.scrape(url, limit_s=_SCRAPE_S)
        if found is not None:
            self.engine.scraped(name, queue=found.queue, kv_use=found.kv_use, servers=found.servers)

    async def _watching(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_S):
                    await self._reload.wait()
            digests = self._file_digests()
            if self._reload.is_set() or digests != self._digests:
                self._reload.clear()
                self._digests = digests
                self.reload()

    def reload(self) -> bool:
        """Reads configuration and keys again. A file that is refused changes nothing; streams go on in any case."""
        try:
            policy = read_config(self.options.config)
            keys = load_keys(read(self.options.keys, "--keys"), policy)
        except Refused as refused:
            _LOG.error("kept the old configuration", extra={"fields": {"reason": str(refused)}})
            return False
        self.engine.reload(policy, fixed(policy) if self.options.redis_url is None else None)
        if self.leaser is not None:
            self.leaser.hurry()
        if self._api is not None:
            self._api.keys = keys
            self._api.services.callers.configure(policy.caller_breaker)
        _LOG.info("reloaded", extra={"fields": {"policy": policy.policy_version}})
        return True

    def _file_digests(self) -> tuple[str, str]:
        found = []
        for path in (self.options.config, self.options.keys):
            try:
                found.append(hashlib.sha256(path.read_bytes()).hexdigest())
            except OSError:
                found.append("")
        return found[0], found[1]

    def _webhook(self) -> Webhook | None:
        url = self.options.alert_webhook
        return Webhook(url, lost=self.metrics.alert_lost) if url is not None else None

    def _checkpoints(self) -> Checkpoints | None:
        bucket, trail = self.options.audit_bucket, self.engine.policy.audit
        if bucket is None:
            return None
        return Checkpoints(
            self.spool,
            BucketStore(bucket, mode=trail.object_lock_mode, days=trail.retention_days, now=self.calendar.now),
            key=key_of(self.options.hash_secret),
            interval_s=lambda: self.engine.policy.audit.checkpoint_interval_s,
            now_us=self.calendar.now_us,
            told=self.metrics.checkpoint,
        )

    def _alert(self, alert: Alert) -> None:
        self.metrics.alerted(alert.scope, alert.share)
        _LOG.warning("a budget passed a threshold", extra={"fields": amounts(alert)})
        if self.webhook is not None:
            environment, replica = self.engine.policy.environment, self.options.replica
            self.webhook.tell(message(alert, environment=environment, period=self.engine.state.period, replica=replica))


def _open(directory: Path, replica: str) -> Spool:
    try:
        return Spool(directory, replica)
    except OSError as error:
        raise refuse(
            "--spool",
            str(directory),
            f"the journal can't be opened ({error.strerror})",
            reason="what can't be recorded is not served",
            next_step="check the volume, its free space and its rights",
        ) from None
