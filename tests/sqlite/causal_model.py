"""A primary and two replicas that are numbers, and clients whose questions fail: is any read stale?

The package is the real one; of the databases only what they say of their positions is made up, and the time.
"""

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from unittest.mock import patch

from django.db import OperationalError, connections
from django.test import override_settings

from django_rwrouter import (
    consistency,
    current_token,
    databases,
    mark_written,
    read_connection,
    routing_scope,
)
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.base import Reading
from django_rwrouter.databases.postgresql import PostgreSQLPosition
from django_rwrouter.monitor.probes import ProbeResult
from django_rwrouter.monitor.verdicts import Verdicts
from django_rwrouter.routing import decide, pending_read
from django_rwrouter.servers import asking, freshness, identity, waiting, wrapper_installation
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.identity import set_server
from django_rwrouter.stores import exchange

REPLICAS = ("replica1", "replica2")
BOUND = 2.0
"""Seconds after which a question that hangs is given up."""


def at(number):
    return PostgreSQLPosition(1, number)


class ReadIsStaleError(AssertionError):
    """A replica has answered that lacks what it had to have."""


@dataclass
class World:
    """The servers, the clients, and the clock; also the driver that the package asks."""

    replicas_are_read_only = False
    now: float = 1000.0
    skew: float = 0.0
    committed: int = 1
    replayed: dict = field(default_factory=lambda: dict.fromkeys(REPLICAS, 1))
    answers: list = field(default_factory=list)
    """How the next questions go; all that follow are answered."""
    clients: dict = field(default_factory=dict)
    """Each client's token, and the number of its last write."""

    # --- the driver ------------------------------------------------------------------------------

    def answer(self, say, seconds=0.0):
        kind = self.answers.pop(0) if self.answers else "answers"
        if kind == "fails":
            raise OperationalError(2013, "made up")
        if kind == "hangs":
            self.now += BOUND
            raise OperationalError(2013, "made up: no answer in time")
        said = say()
        if kind == "late":
            self.now += BOUND * 0.9
            self.commit()  # Others go on meanwhile.
        self.now += seconds
        return said

    def read_primary(self, alias):
        return self.answer(lambda: at(self.committed))

    def describe_primary(self, alias):
        return Reading("primary", self.read_primary(alias), writable=True)

    def read_replica(self, alias):
        return self.answer(lambda: Reading(alias, at(self.replayed[alias]), writable=False))

    def place(self, position, primary):
        return position

    def wait(self, alias, position, seconds):
        return self.answer(lambda: self.replayed[alias] >= position.lsn, seconds)

    # --- what happens ----------------------------------------------------------------------------

    def tick(self, seconds):
        self.now += seconds

    def replicate(self, replica, part):
        behind = self.committed - self.replayed[replica]
        self.replayed[replica] += round(behind * part)

    def commit(self):
        self.committed += 1
        return self.committed

    def away(self, seconds):
        """The monitor takes the primary for away."""
        health.lost_primary("default", seconds)

    def probe(self, alias, answers):
        """One question of the monitor's."""
        self.answers = list(answers)
        began = self.now
        ask = self.describe_primary if alias == "default" else self.read_replica
        try:
            finding = ProbeResult(alias=alias, began=began, reading=ask(alias), driver=self)
        except OperationalError:
            if alias != "default":
                return  # That ejects it, which keeps it from being read.
            finding = ProbeResult(alias=alias, began=began, failure="made up")
        self.verdicts.heard(finding, self.now)

    def write(self, name, skew, answers, open_for=None):
        """A client writes on a host with another clock; its token may be made before the commit."""
        token, number = self.clients.get(name, ("", 0))
        self.answers, self.skew = list(answers), skew
        with routing_scope(token=token):
            mark_written()
            if open_for is None:
                number = self.commit()
            with patch.object(connections["default"], "in_atomic_block", open_for is not None):
                token = current_token()
        self.skew = 0.0
        if open_for is not None:
            self.now += open_for / 2
            for alias in ("default", *REPLICAS):
                self.probe(alias, [])
            self.now += open_for / 2
            number = self.commit()
        self.clients[name] = token, number

    def read(self, name, level, answers):
        """A client reads twice in one request."""
        token, number = self.clients.get(name, ("", 0))
        self.answers = list(answers)
        needed = self.committed if level == "strong" else number
        with routing_scope(safe=True, token=token), consistency(level):
            for _ in range(2):
                alias = read_connection().alias
                if alias in REPLICAS and self.replayed[alias] < needed:
                    raise ReadIsStaleError(f"{level}: {alias} is at {self.replayed[alias]}, not {needed}")
        health.reset()  # A replica that was passed over is not out for good.
        health.watch(10.0)
        return alias


@contextmanager
def world():
    """Put a world in place of the servers and the clock."""
    made = World()
    base = time.time()
    clock = SimpleNamespace(
        time=lambda: base + made.now + made.skew, perf_counter=time.perf_counter, sleep=None
    )
    settings = {"REPLICAS": list(REPLICAS), "CONSISTENCY": "causal"}
    with ExitStack() as stack:
        stack.enter_context(override_settings(RWROUTER=settings))

        def put(name, value):
            """Put a value in the place of a name in every module that has it."""
            for module in (asking, databases, decide, freshness, identity, pending_read, waiting):
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, value))

        put("monotonic", lambda: made.now)
        for module in (exchange, decide):
            stack.enter_context(patch.object(module, "time", clock))
        stack.enter_context(patch.object(health, "_clock", lambda: made.now))
        put("get_driver", lambda connection: made)
        put("ask", lambda connection, question: question(connection.alias))
        put("is_primary", lambda connection, primary: False)
        put("has_positions", lambda vendor: True)
        for alias in ("default", *REPLICAS):
            set_server(wrapper_installation.install(connections[alias]), None)
        forget()
        made.verdicts = Verdicts(get_topology(), away_seconds=4.0)
        health.watch(10.0)
        try:
            yield made
        finally:
            forget()


def forget():
    knowledge.reset()
    health.reset()
    waiting.reset()


def play(steps):
    """Let things happen, one after another; raises ``ReadIsStaleError``."""
    with world() as made:
        for name, *arguments in steps:
            getattr(made, name)(*arguments)
            health.watch(10.0)
