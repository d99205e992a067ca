"""A chapter of the walk: its settings, servers and clients, and what must hold after each request."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import sqlite3
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

from django.conf import settings
from django.core.cache import cache
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.signals import got_request_exception
from django.db import OperationalError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.test import override_settings

from django_rwrouter import process
from django_rwrouter.scope import context
from django_rwrouter.servers import spill_slots
from django_rwrouter.servers.in_flight import loads
from django_rwrouter.signals import statement_routed
from proofs.questions import every_question
from proofs.walk import views
from proofs.walk.clients import HEADER, Answer, Client, serve_asgi, serve_wsgi
from proofs.walk.clock import Clock
from proofs.walk.models import TABLES
from proofs.walk.oracle import Needs, Oracle, Scope
from proofs.walk.programs import CLIENTS, KEYS, Configuration, Event, Visit
from proofs.walk.settings import CLUSTERS, FOLDER, ROUTER, RWROUTER, SESSIONS
from sqlite_replication import positions
from sqlite_replication.simulator import SQLiteReplicationSimulator

PRIMARIES = [primary for primary, _replicas in CLUSTERS.values()]
REPLICAS = [alias for _primary, replicas in CLUSTERS.values() for alias in replicas]


SYNC_TIMEOUT = 0.5


class RefusedError(views.MadeUpError, OperationalError):
    """A primary has taken no new connection."""


class BrokenError(AssertionError):
    """Something that must hold after each request does not."""


def file_of(alias: str) -> Path:
    """Return the database's file."""
    return FOLDER / f"{alias}.sqlite3"


def prepare() -> None:
    """Make the databases, and keep a copy of each as it is in the beginning."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    positions.register()
    for primary in PRIMARIES:
        call_command("migrate", database=primary, run_syncdb=True, verbosity=0)
    for (cluster, table), model in TABLES.items():
        primary = CLUSTERS[cluster][0]
        if table == "cell":
            model._default_manager.using(primary).bulk_create(  # noqa: SLF001
                model(key=key) for key in range(KEYS)
            )
    connections.close_all()
    for primary, replicas in CLUSTERS.values():
        simulator = SQLiteReplicationSimulator(file_of(primary), [file_of(alias) for alias in replicas])
        simulator.synchronise()
        simulator.close()
        with closing(sqlite3.connect(file_of(primary))) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    for alias in (*PRIMARIES, *REPLICAS):
        copy(file_of(alias), FOLDER / f"{alias}.fresh")


def copy(source: Path, target: Path) -> None:
    """Give a file another's content; connections to it may be open."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as changed:
        changed.execute("PRAGMA synchronous=OFF")
        original.backup(changed)


class World:
    """The servers and clients of one chapter."""

    def __init__(self, chosen: Configuration, clock: Clock) -> None:
        self.chosen = chosen
        self.clock = clock
        self.counts_misses = chosen.level == "eventual"
        """Whether reads that miss their client's write are expected."""
        self.oracle = Oracle("causal" if self.counts_misses else chosen.level, lambda: clock.seconds)
        self.failure: BaseException | None = None
        self.counts: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._keys = itertools.count(1)
        self.clients = [self._new_client(number) for number in range(CLIENTS)]
        self._needs_of_sessions: dict[tuple[str, str], Needs] = {}
        """What the ``cache`` store has to remember, by session or account."""
        self._quiet: set[str] = set()
        """Primaries that answer no questions."""

    def _new_client(self, number: int) -> Client:
        is_browser = number % 2 == 0
        key = "" if is_browser else f"Bearer {next(self._keys)}"
        return Client(number, is_browser, authorization=key)

    # --- a chapter ------------------------------------------------------------------------------

    @contextmanager
    def open(self) -> Iterator[None]:
        """Start the servers with the chapter's settings."""
        chosen = self.chosen
        middleware = [SESSIONS, ROUTER] if "session" in chosen.stores else [ROUTER, SESSIONS]
        connections.close_all()
        for alias in (*PRIMARIES, *REPLICAS):
            copy(FOLDER / f"{alias}.fresh", file_of(alias))
            options = connections[alias].settings_dict
            options["CONN_MAX_AGE"] = None if chosen.persistent else 0
            options["ATOMIC_REQUESTS"] = chosen.atomic_requests and alias in PRIMARIES
        cache.clear()
        self._simulators = {
            alias: SQLiteReplicationSimulator(file_of(primary), [file_of(alias)])
            for primary, replicas in CLUSTERS.values()
            for alias in replicas
        }
        self._watchers = {
            alias: sqlite3.connect(file_of(alias), check_same_thread=False) for alias in REPLICAS
        }
        rwrouter = {
            **RWROUTER,
            "CONSISTENCY": chosen.level,
            "STORE": list(chosen.stores),
            "MONITOR": {"MODE": chosen.monitor},
            "REPLICA_PER": chosen.replica_per,
            "MONOTONIC_READS": chosen.monotonic,
            "SYNC_REPLICAS": chosen.sync_replicas,
            "SYNC_TIMEOUT": SYNC_TIMEOUT,
        }
        changed = override_settings(
            RWROUTER=rwrouter,
            MIDDLEWARE=middleware,
            SESSION_ENGINE=f"django.contrib.sessions.backends.{chosen.engine}",
            SESSION_SAVE_EVERY_REQUEST=chosen.save_every_request,
        )
        with changed, every_question(self._question), self._refusing():
            process.reset()
            self._wsgi, self._asgi = WSGIHandler(), ASGIHandler()
            self._loop = asyncio.new_event_loop()
            statement_routed.connect(self._routed)
            got_request_exception.connect(self._failed)
            self._look_at_replicas()
            self.clock.asleep = self._replicate_by_chance
            try:
                yield
            finally:
                self.clock.asleep = lambda: None
                statement_routed.disconnect(self._routed)
                got_request_exception.disconnect(self._failed)
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
                self._loop.run_until_complete(self._loop.shutdown_default_executor())
                self._loop.close()
                connections.close_all()
                for simulator in self._simulators.values():
                    simulator.close()
                for watcher in self._watchers.values():
                    watcher.close()
                process.reset()

    def play(self, happenings: Sequence[Visit | Event]) -> tuple[int, BaseException] | None:
        """Let all of it happen. Returns which went wrong, and how."""
        with self.open():
            for number, happening in enumerate(happenings):
                try:
                    if isinstance(happening, Visit):
                        with suppress(RefusedError):  # Out of a body, whose headers are gone.
                            self.visit(happening)
                        self._check()
                    else:
                        self.happen(happening)
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (whatever the package raises)
                    self.failure = self.failure or error
                if self.failure is not None:
                    return number, self.failure
        return None

    def _routed(self, *, alias: str, wrote: bool, **_more: object) -> None:
        self.counts["on replicas"] += alias in REPLICAS and not wrote

    def _failed(self, **_more: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, views.MadeUpError) and self.failure is None:
            self.failure = error

    @contextmanager
    def _question(self, alias: str, _asker: str) -> Iterator[None]:
        if alias in self._quiet:
            raise OperationalError("made up: no answer")
        yield

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Let primaries that answer no questions take no new connections either, in some chapters."""
        connect = DatabaseWrapper.get_new_connection

        def get_new_connection(connection: DatabaseWrapper, parameters: dict[str, object]) -> object:
            if self.chosen.refuses and connection.alias in self._quiet:
                raise RefusedError("made up: no connection is left")
            return connect(connection, parameters)

        with patch.object(DatabaseWrapper, "get_new_connection", get_new_connection):
            yield

    def _replicate_by_chance(self) -> None:
        if random.random() < 0.1:
            self.happen(Event("synchronise", (random.choice(REPLICAS),)))

    # --- what happens ---------------------------------------------------------------------------

    def happen(self, event: Event) -> None:
        """Let something happen that is no request."""
        if event.name == "wait":
            self.clock.advance(event.arguments[0])
        elif event.name == "newcomer":
            (number,) = event.arguments
            self.clients[number] = self._new_client(number)
        elif event.name in {"quiet", "answering"}:
            (name,) = event.arguments
            (self._quiet.add if event.name == "quiet" else self._quiet.discard)(CLUSTERS[name][0])
            self.oracle.unknown_lag.add(name)
        else:
            (alias,) = event.arguments
            self._check_contents()
            getattr(self._simulators[alias], {"snapshot": "take_snapshot"}.get(event.name, event.name))()
            self._look_at_replicas()

    def visit(self, visit: Visit, *, nested: bool = False) -> None:
        """Make a request, and give its client what it is to keep."""
        client = self.clients[visit.client]
        now = self.clock.seconds
        session = client.session(now)
        before = self._identity(client, now)
        safe = visit.method in {"GET", "HEAD"} and not visit.unsafe_path
        needs = {**client.needs, **self._needs_of_sessions.get(before, {})}
        seen = client.seen if self.chosen.monotonic and not self.counts_misses else {}
        scope = Scope(safe, needs, self.oracle.number, seen_before=dict(seen))
        number = next(self._numbers)
        it = views.running[number] = views.Running(visit, self.oracle, scope, self)
        it.is_clean = (
            not client.wrote
            and self.chosen.level in {"causal", "eventual"}
            and not (self.chosen.quiet or self.chosen.monotonic)
        )
        answers = client.answers
        path = f"{'/unsafe' * visit.unsafe_path}/{visit.view}/{number}/"
        headers = client.request_headers(now)
        self.counts["requests"] += 1
        try:
            answer = self._answer(visit, path, headers, nested=nested)
        finally:
            del views.running[number]
        client.wrote = client.wrote or bool(scope.wrote)
        now = self.clock.seconds
        client.take(answer, now)
        self._deliver(client, answer, scope, session, now)
        if client.answers != answers:  # Of two at once, the token of one is overwritten.
            client.seen.clear()
        elif self._carries(client):
            client.seen.update(scope.seen)
        client.answers += 1
        if not nested:
            self._check_synchronous(scope, now)
        it.litter.clear()

    def _answer(self, visit: Visit, path: str, headers: dict[str, str], *, nested: bool) -> Answer:
        if visit.server == "wsgi":
            return serve_wsgi(self._wsgi, visit.method, path, headers, visit.chunks)
        serving = serve_asgi(self._asgi, visit.method, path, headers, visit.chunks)
        if nested:
            return asyncio.run(serving)
        return self._loop.run_until_complete(serving)

    @staticmethod
    def _identity(client: Client, now: float) -> tuple[str, str]:
        session = client.session(now)
        return ("session", session) if session else ("account", client.authorization)

    def _exists(self, identity: tuple[str, str]) -> bool:
        """Whether it is more than a cookie of a session that was deleted."""
        kind, value = identity
        store = import_module(settings.SESSION_ENGINE).SessionStore
        return kind == "account" or self.chosen.engine == "signed_cookies" or bool(store().exists(value))

    def _deliver(self, client: Client, answer: Answer, scope: Scope, session: str, now: float) -> None:
        """Note what the client's next requests have to see."""
        stores = self.chosen.stores
        if self._carries(client):
            self._forget_overwritten(client, answer, scope, session)
            client.needs.update(scope.own)
        if "cache" in stores:
            written = {**scope.own, **scope.own_late}
            identity = self._identity(client, now)
            if identity != ("account", "") and self._exists(identity):
                kept = self._needs_of_sessions.setdefault(identity, {})
                before = ("session", session) if session else ("account", client.authorization)
                if identity != before:
                    kept.update(self._needs_of_sessions.get(before, {}))
                    written = scope.own
                kept.update(written)

    def _carries(self, client: Client) -> bool:
        """Whether the client itself keeps its token, or what leads to it."""
        if client.is_browser:
            return self.chosen.stores != ("header",)
        return "header" in self.chosen.stores

    def _forget_overwritten(self, client: Client, answer: Answer, scope: Scope, session: str) -> None:
        """Forget what another request wrote meanwhile, in another cluster, if its token is overwritten."""
        cookies = answer.set_cookies()
        replaced = (
            settings.SESSION_COOKIE_NAME in cookies and cookies[settings.SESSION_COOKIE_NAME].value != session
        )
        if "session" in self.chosen.stores and session and not replaced:
            return  # In one session, tokens are put beside each other.
        if replaced or "rwrouter" in cookies or answer.header(HEADER):
            told = {slot.cluster for slot in scope.own}
            for slot, commit in list(client.needs.items()):
                if slot.cluster not in told and commit.number > scope.began:
                    del client.needs[slot]

    # --- what must hold -------------------------------------------------------------------------

    def _look_at_replicas(self) -> None:
        self._contents = {alias: self._content(alias) for alias in REPLICAS}

    def _content(self, alias: str) -> int:
        """Return a number that changes with each commit that reaches a replica's file."""
        return self._watchers[alias].execute("PRAGMA data_version").fetchone()[0]  # type: ignore[no-any-return]

    def _check_synchronous(self, scope: Scope, now: float) -> None:
        """Look whether enough replicas have what was written, if they were not waited for in vain."""
        for slot, commit in scope.own.items():
            if now - commit.at > SYNC_TIMEOUT * 0.9 or self.chosen.quiet:
                continue
            sql, arguments = views.sql_of(slot)
            sql = sql.replace("*", "MAX(version)").replace("%s", "?")
            watchers = [self._watchers[alias] for alias in CLUSTERS[slot.cluster][1]]
            shown = [watcher.execute(sql, arguments).fetchone()[0] or 0 for watcher in watchers]
            if sum(version >= commit.version for version in shown) < self.chosen.sync_replicas:
                raise BrokenError(f"{slot} is answered before replicas show {commit.version}: {shown}")

    def _check_contents(self) -> None:
        for alias in REPLICAS:
            if self._content(alias) != self._contents[alias]:
                raise BrokenError(f"{alias} was written to")

    def _check(self) -> None:
        self._check_contents()
        if (left := context.in_force()) != context.NOTHING:
            raise BrokenError(f"the request has left {left} in force")
        for alias in (*PRIMARIES, *REPLICAS):
            self._check_connection(alias)
        for name in CLUSTERS:
            if spill_slots.taken(name):
                raise BrokenError(f"a slot on the primary of {name} is still taken")
        if (threads := threading.active_count()) > 30:
            raise BrokenError(f"{threads} threads are left")

    @staticmethod
    def _check_connection(alias: str) -> None:
        connection = connections[alias]
        is_open = connection.connection is not None
        if connection.in_atomic_block or (is_open and not connection.autocommit):
            raise BrokenError(f"{alias} is left in a transaction")
        if len(connection.execute_wrappers) > 1:
            raise BrokenError(f"{alias} has wrappers of the request's: {connection.execute_wrappers}")
        if loads[alias].running:
            raise BrokenError(f"a statement is still said to run on {alias}")
        if is_open:
            (read_only,) = connection.connection.execute("PRAGMA query_only").fetchone()
            if bool(read_only) != (alias in REPLICAS):
                raise BrokenError(f"the session of {alias} has query_only={read_only}")
