"""Keeps the monitor's connection to one server, and probes it there in bounded time."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.databases import get_product
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.events import emit
from django_rwrouter.monitor.probes import Answers, PrimarySample, ProbeQuestion, ProbeResult, ask
from django_rwrouter.scope.context import silenced
from django_rwrouter.servers import sockets

BARE_PART: Final = 0.8
"""Part of the timeout (of a second at most) that a bare connection waits for a server's first byte: the
result is there when the server's second chance is over."""
RENEW_SECONDS: Final = 60.0
"""For how long a connection is kept: its address may lead to another server by now."""


class Prober:
    """The monitor's connection to one server. Used by one thread at a time, but for :meth:`abort`."""

    def __init__(
        self, alias: str, primary: str, timeout: float, questions: Sequence[ProbeQuestion] = ()
    ) -> None:
        self.alias = alias
        self.is_primary = alias == primary
        self._primary = primary
        self._timeout = timeout
        self.questions = questions
        self._connection: BaseDatabaseWrapper | None = None
        self._renew_at = 0.0
        self._refusal = ""
        """What it refuses to tell its position for. It is asked again on the next connection."""
        self._peer: sockets.Peer | None = None
        """The address of the last connection."""
        self._knocking = threading.Lock()
        self._in_doubt = False
        """Whether the server did not answer the last time."""
        self.unreachable = False
        """Whether the last new connection received nothing from the server."""
        self._product = get_product(connections.create_connection(alias))
        self.reads_in_bounded_time = not self._product.reads_can_hang
        """Whether the driver has a read timeout."""

    def probe(self, sample: PrimarySample, *, patience: float = 0.0, fresh: bool = False) -> ProbeResult:
        """Probe the server, like :func:`ask`. Never raises.

        ``fresh`` opens a new connection, which also tests whether the server still takes any.
        """
        started = monotonic()
        fresh = fresh or started >= self._renew_at
        kept = self._raw is not None and not fresh
        try:
            with silenced():
                try:
                    finding = self._probe(sample, patience, fresh=fresh)
                except Error:
                    self.close()
                    # An administrator or a proxy may have ended the kept connection alone.
                    if not kept or monotonic() - started >= self._timeout:
                        raise
                    finding = self._probe(sample, 0.0, fresh=True)
                self._in_doubt = self.unreachable = False
                return finding
        except Error as error:
            self.close()
            self._in_doubt = True
            self.unreachable = self.unreachable or self._product.errors.was_never_reached(error)
            why = emit.why(error)
            # psycopg leaves an attempt that has timed out in a frame, to the garbage collector.
            traceback.clear_frames(error.__traceback__)
            return ProbeResult(alias=self.alias, began=started, failure=why, unreachable=self.unreachable)
        except Exception as error:  # noqa: BLE001  (a receiver of connection_created may raise anything)
            self.close()
            return ProbeResult(alias=self.alias, began=started, trouble=error)
        finally:
            if self.is_primary:
                sample.done.set()

    def ask_more(self) -> Answers:
        """Ask the additional questions, on the connection of :meth:`probe`; return the answers. Never raises.

        A missing answer says nothing about the server: the table may be locked.
        """
        answers: dict[str, tuple[Any, float]] = {}
        for question in self.questions:
            if self._connection is not None and self._raw is not None:
                asked_at = monotonic()
                with suppress(Exception), silenced():
                    answers[question.name] = question.ask(self._connection), asked_at
        return answers

    def abort(self) -> None:
        """Abort a probe that another thread runs, if its connection is open."""
        self._doubt()
        raw = self._raw
        if raw is not None:
            sockets.sever(raw)

    def _doubt(self) -> None:
        """Test in another thread whether the server answers at all, where the driver does not tell.

        libpq's attempt to connect may last two seconds, which is the least that it allows.
        """
        self._in_doubt = True
        peer, hello = self._peer, self._product.hello
        if not hello or peer is None or self._knocking.locked():
            return

        def knock() -> None:
            with self._knocking:
                answered = peer.answers(hello, min(self._timeout, 1.0) * BARE_PART)
                self.unreachable = self._in_doubt and not answered

        with suppress(RuntimeError):  # The system allows no more threads: then nothing is cut off.
            threading.Thread(target=knock, name=f"rwrouter-knock-{self.alias}", daemon=True).start()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # It may be broken in any way.
                connection.close()

    def disarm(self) -> None:
        """Detach the parent's connection, in a forked child."""
        if self._raw is not None:
            sockets.disarm(self._raw)

    def _probe(self, sample: PrimarySample, patience: float, *, fresh: bool) -> ProbeResult:
        if fresh:
            self.close()
        result = ask(self._connect(), self._primary, sample, patience=patience, refusal=self._refusal)
        self._refusal = result.refusal
        return result

    @property
    def _raw(self) -> Any:
        """The driver's open connection, if any."""
        connection = self._connection
        return None if connection is None else connection.connection

    def _connect(self) -> BaseDatabaseWrapper:
        connection = self._connection
        if connection is None:
            connection = self._connection = own_connection(self.alias, self._timeout)
            connection.inc_thread_sharing()  # Threads take turns.
        if connection.connection is None:
            connection.ensure_connection()
            self._renew_at = monotonic() + RENEW_SECONDS
            sockets.remember(connection.connection)
            self._peer = sockets.peer_of(connection.connection)
            self._refusal = ""
        return connection
