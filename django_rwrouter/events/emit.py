"""Emits each event at once to the statistics, the log and its signal.

Where the processes of a host share what they know, the leader emits what its probes find. A follower emits
the ejections that it alone has met, once the leader has probed the server and found nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any, Final

from django_rwrouter import process, stats
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases import code_of
from django_rwrouter.events.causes import SECONDS
from django_rwrouter.events.kinds import EventKind, LogMessage
from django_rwrouter.printable import printable

logger = logging.getLogger("django_rwrouter")

REPEAT_SECONDS: Final = 10.0
"""Least time between two log entries about a condition that many reads or writes meet one after another."""
_ONLY_ON_PRIMARY: Final = LogMessage(
    "The replica %(alias)r could not run a read, and the primary could: a table, a column or a privilege is"
    " not there yet, or it is something that no replica can do.",
    repeats=True,
)

_logged: dict[tuple[str, object], float] = {}
"""When a condition of a subject was last logged (monotonic seconds)."""
process.owns(_logged.clear)
_emitted_elsewhere: Final[ContextVar[bool]] = ContextVar("rwrouter_emitted_elsewhere", default=False)


class OwnEjections:
    """The ejections that reads of this process have caused."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, as a process that follows nobody."""
        self.following = False
        """Whether another process probes the servers for this one."""
        self.held: dict[str, tuple[float, str]] = {}
        """By alias, when (monotonic) and why, until the leader has probed the server."""
        self.emitted: set[str] = set()
        """Replicas whose ejection this process has emitted, so that it also emits their return."""

    def follow(self) -> None:
        """Hold further ejections back, as another process probes the servers."""
        if not self.following:
            self.following = True
            self.emitted.clear()

    def lead(self) -> None:
        """Emit what was held back, and hold nothing back any more."""
        self.following = False
        self.settle(dict.fromkeys(self.held, math.inf))

    def settle(self, probed: Mapping[str, float], ejected: Collection[str] = ()) -> None:
        """Emit what the leader has ``probed`` later, by alias, and has not ``ejected`` itself."""
        for alias, (at, reason) in list(self.held.items()):
            if alias in ejected:
                self.held.pop(alias, None)
            elif probed.get(alias, at) > at:
                self.held.pop(alias, None)
                self.emit(alias, reason)

    def emit(self, alias: str, reason: str) -> None:
        """Emit an ejection, whoever probes the servers."""
        self.emitted.add(alias)
        event(EventKind.REPLICA_EJECTED, alias, why=reason)


own_ejections: Final = OwnEjections()
process.owns(own_ejections.reset)


@contextmanager
def emitted_elsewhere() -> Iterator[None]:
    """Suppress events in this block: another process emits them."""
    token = _emitted_elsewhere.set(True)
    try:
        yield
    finally:
        _emitted_elsewhere.reset(token)


def event(
    kind: EventKind,
    subject: str,
    detail: str = "",
    *,
    counted: bool = True,
    although_elsewhere: bool = False,
    **facts: Any,
) -> None:
    """Count an event, log it, and send its signal with the same facts.

    ``detail`` is what the statistics note beside it: by default, the reason.
    """
    if _emitted_elsewhere.get() and not although_elsewhere:
        return
    if kind.subject == "cluster":
        facts = {"cluster": subject, **facts}
    else:
        facts = {"alias": subject, "cluster": cluster_of(subject), **facts}
    if counted and kind.occurrence is None:
        stats.count_event(kind.code, subject)
    elif counted:
        stats.note_event(kind.code, subject, detail or facts.get("why", ""))
    if kind.message is not None:
        _log(kind.code, kind.message, subject, facts)
    if kind.signal is not None:
        kind.signal.send_robust(sender=None, **facts)


def _log(condition: str, message: LogMessage, subject: str, facts: Mapping[str, Any]) -> None:
    now = monotonic()
    if message.repeats and now - _logged.get((condition, subject), -REPEAT_SECONDS) < REPEAT_SECONDS:
        return
    _logged[condition, subject] = now
    if "why" in facts:
        facts = {**facts, "why": printable(facts["why"])}
    # The place in the log is that of whoever met the event.
    logger.log(message.level, message.text, facts, extra=facts, stacklevel=3)


def replica_ejected(alias: str, reason: str) -> None:
    """Emit that this process has stopped reading from a replica; a follower does so later, if at all."""
    if _emitted_elsewhere.get():
        return
    if own_ejections.following:
        own_ejections.held[alias] = monotonic(), reason
    else:
        own_ejections.emit(alias, reason)


def replica_restored(alias: str, seconds: float) -> None:
    """Emit that this process reads from a replica again, after so many seconds."""
    event(
        EventKind.REPLICA_RESTORED,
        alias,
        SECONDS % {"seconds": f"{seconds:.1f}"},
        although_elsewhere=alias in own_ejections.emitted,
        seconds=seconds,
    )
    own_ejections.emitted.discard(alias)


def only_on_primary(alias: str) -> None:
    """Log that a replica could not run a read and the primary could; statistics count it by its reason."""
    facts = {"alias": alias, "cluster": cluster_of(alias)}
    _log("only_on_primary", _ONLY_ON_PRIMARY, alias, facts)


def cluster_of(alias: str) -> str:
    """Return the name of the cluster that a database belongs to; empty for other databases."""
    cluster = get_topology().by_alias.get(alias)
    return "" if cluster is None else cluster.name


def why(error: BaseException) -> str:
    """Return an error's type and code. Its text may contain host, user and data."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else code_of(error) or ""
    return f"{type(error).__name__} {code}".rstrip()
