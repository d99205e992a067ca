"""What goes wrong with database servers, made with real ones: each is a block that undoes it at its end.

The registry :data:`FAULTS` says of each which servers it hits and how long it lasts at least. Those with
``network`` happen to a proxy in front of the servers, all others to the servers themselves.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from launcher.process import ServerError
from launcher.tcp_proxy import TcpProxy
from proofs.background import in_background
from proofs.load import Role

APP_USER = "rwrouter"
WRITE_SHARE = 0.1
"""How many of a writing user's requests are writes."""
READERS_AND_WRITERS = (
    Role(level="window", writes=WRITE_SHARE),
    Role(level="causal", writes=WRITE_SHARE),
    Role(level="window"),
    Role(level="eventual"),
)
LAG_SECONDS = 60
SHORT_DELAY_SECONDS = 1
"""Servers are delayed by whole seconds."""
DELAYED_SECONDS = (0.5, 1.5)
"""How long a replica stays so: from, to."""
DROP_EVERY = 0.5
FLAP_EVERY = 1.0
INSIST_SECONDS = 20.0
FULL = 60
"""Connections that a full MariaDB server has room for, and more than the site makes: else it would stay full.
PostgreSQL's is the default, 100."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """The servers that faults happen to."""

    database: str
    cluster: Any
    proxies: Mapping[Any, TcpProxy] = field(default_factory=dict)
    """One in front of each server, if the fault is the network's."""
    seen: dict[str, float] = field(default_factory=dict)
    """What was measured on the servers meanwhile."""

    @property
    def is_mariadb(self) -> bool:
        """Whether the statements are MariaDB's; otherwise PostgreSQL's."""
        return self.database == "mariadb"


Make = Callable[[Stage, Sequence[Any]], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong."""

    what: str
    """In words, for the report."""
    make: Make
    hits: tuple[str, ...] = ("one", "all")
    """``"one"`` replica, ``"all"`` of them, or the ``"primary"``."""
    seconds: float = 5.0
    """How long it lasts at least."""
    network: bool = False
    silent: bool = False
    """Whether the server says nothing, so that only timeouts tell."""
    returns: bool = True
    """Whether reads must be back within three intervals of the monitor."""
    flaps: bool = False
    """Whether servers may come and go while it lasts."""
    databases: tuple[str, ...] = ("mariadb", "postgresql")
    keeps_cluster: bool = True
    """Whether the cluster is afterwards as it was."""
    roles: tuple[Role, ...] = READERS_AND_WRITERS
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further settings of the site."""


# --- the process ---------------------------------------------------------------------------------


@contextmanager
def kill(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """SIGKILL; started again at the end."""
    for server in servers:
        server.kill()
    yield
    for server in servers:
        server.start()


@contextmanager
def restart(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """A shutdown in good order, and a start right after it."""
    for server in servers:
        server.stop()
        server.start()
    yield


@contextmanager
def freeze(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """SIGSTOP: connections are accepted by the kernel and stay open, and nobody answers."""
    for server in servers:
        server.freeze()
    yield
    for server in servers:
        server.thaw()


# --- the network ---------------------------------------------------------------------------------


@contextmanager
def _network(stage: Stage, servers: Sequence[Any], fail: Callable[[TcpProxy], None]) -> Iterator[None]:
    for server in servers:
        fail(stage.proxies[server])
    yield
    for server in servers:
        stage.proxies[server].forward()


def cut(stage: Stage, servers: Sequence[Any]) -> AbstractContextManager[None]:
    """Connections are closed, and new ones refused."""
    return _network(stage, servers, TcpProxy.cut)


def reset(stage: Stage, servers: Sequence[Any]) -> AbstractContextManager[None]:
    """Connections are reset, and new ones as soon as they are made."""
    return _network(stage, servers, TcpProxy.reset)


def stall(stage: Stage, servers: Sequence[Any]) -> AbstractContextManager[None]:
    """Nothing comes through any more, as if a cable were pulled."""
    return _network(stage, servers, TcpProxy.stall)


@contextmanager
def flap(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """Every second the network fails and returns."""
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for server in servers:
                stage.proxies[server].reset()
            ended.wait(FLAP_EVERY / 2)
            for server in servers:
                stage.proxies[server].forward()
            ended.wait(FLAP_EVERY / 2)

    with in_background([come_and_go], ended):
        yield


# --- replication ---------------------------------------------------------------------------------


@contextmanager
def stop_applying(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """The SQL thread is stopped, or replay is paused."""
    for server in servers:
        stage.cluster.pause(server)
    yield
    for server in servers:
        stage.cluster.resume(server)


@contextmanager
def delay(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """Replicas are kept a minute behind; what reads do on the primary meanwhile is watched."""
    ended = threading.Event()
    seen: list[int] = [0]

    def watch() -> None:
        while not ended.wait(0.1):
            seen[0] = max(seen[0], _sleeping_reads(stage))

    for server in servers:
        stage.cluster.delay(server, LAG_SECONDS)
    with in_background([watch], ended):
        yield
    stage.seen["slow reads on the primary at once"] = seen[0]
    for server in servers:
        stage.cluster.delay(server, 0)


def _sleeping_reads(stage: Stage) -> int:
    if stage.is_mariadb:
        query = (
            "SELECT COUNT(*) FROM information_schema.processlist"  # noqa: S608
            f" WHERE user = '{APP_USER}' AND info LIKE '%SLEEP(%'"
        )
    else:
        query = (
            "SELECT count(*) FROM pg_stat_activity"  # noqa: S608
            f" WHERE usename = '{APP_USER}' AND state = 'active' AND query LIKE '%pg_sleep(%'"
        )
    return int(stage.cluster.primary.sql(query)[0][0])


@dataclass(frozen=True, slots=True)
class Intensity:
    """How much a replica is disturbed."""

    weights: tuple[int, int, int]
    """How often it is left alone, paused and delayed, relative to each other."""
    longest_pause: float
    """Seconds."""


ROUGH = Intensity((3, 5, 2), 0.6)
GENTLE = Intensity((30, 60, 1), 0.1)
"""For writers that wait for every replica: they would do nothing else."""


@contextmanager
def disturbed(cluster: Any, intensity: Intensity = ROUGH, seed: int = 0) -> Iterator[Counter[str]]:
    """Pause, delay and resume replicas at random, each for itself; yields how often each was done."""
    done: Counter[str] = Counter()
    ended = threading.Event()

    def disturb(replica: Any, draw: random.Random) -> None:
        while not ended.is_set():
            what = draw.choices(["left alone", "paused", "delayed"], intensity.weights)[0]
            if what == "paused":
                cluster.pause(replica)
                ended.wait(draw.uniform(0, intensity.longest_pause))
                cluster.resume(replica)
            elif what == "delayed":
                cluster.delay(replica, SHORT_DELAY_SECONDS)
                ended.wait(draw.uniform(*DELAYED_SECONDS))
                cluster.delay(replica, 0)
            else:
                ended.wait(draw.uniform(0, intensity.longest_pause))
            done[what] += 1

    works = [
        partial(disturb, replica, random.Random(seed + number))
        for number, replica in enumerate(cluster.replicas)
    ]
    with in_background(works, ended):
        yield done


# --- connections ---------------------------------------------------------------------------------


@contextmanager
def drop(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """An administrator kills the site's connections, twice a second."""
    ended = threading.Event()

    def drop_again_and_again() -> None:
        while not ended.is_set():
            for server in servers:
                _drop_connections(stage, server)
            ended.wait(DROP_EVERY)

    with in_background([drop_again_and_again], ended):
        yield


@contextmanager
def close_idle(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """The server closes what has been idle for a second (``wait_timeout``)."""
    before = []
    for server in servers:
        if stage.is_mariadb:
            before.append(server.sql("SELECT @@global.wait_timeout")[0][0])
            server.sql("SET GLOBAL wait_timeout = 1")
            _drop_connections(stage, server)  # It holds for new ones.
        else:
            server.configure(idle_session_timeout="1s")
    yield
    for server in servers:
        if stage.is_mariadb:
            server.sql(f"SET GLOBAL wait_timeout = {before.pop(0)}")
        else:
            server.configure(idle_session_timeout="0")


@contextmanager
def fill(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """Others have taken all connections that the server allows."""
    ended = threading.Event()
    connect = _connector(stage)
    with ExitStack() as undo:
        for server in servers:
            if stage.is_mariadb:
                [(limit,)] = server.sql("SELECT @@global.max_connections")
                server.sql(f"SET GLOBAL max_connections = {FULL}")
                undo.callback(_insist, server, f"SET GLOBAL max_connections = {limit}")
            _drop_connections(stage, server)
        taken: list[Any] = []

        def take_all() -> None:
            while not ended.is_set():
                for server in servers:
                    with contextlib.suppress(Exception):  # It is full.
                        while not ended.is_set():
                            taken.append(connect(server))
                ended.wait(0.02)

        with in_background([take_all], ended):
            yield
        for connection in taken:
            with contextlib.suppress(Exception):
                connection.close()


def _insist(server: Any, statement: str) -> None:
    """Run a statement on a server that has hardly a connection to spare."""
    deadline = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            server.sql(statement)
        except ServerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _connector(stage: Stage) -> Callable[[Any], Any]:
    def parts(server: Any) -> dict[str, Any]:
        url = urlsplit(server.url())
        return {
            "host": url.hostname,
            "port": url.port,
            "user": unquote(url.username or ""),
            "password": unquote(url.password or ""),
        }

    if stage.is_mariadb:
        import MySQLdb

        return lambda server: MySQLdb.connect(**parts(server))
    import psycopg

    return lambda server: psycopg.connect(**parts(server), dbname="postgres")


def _drop_connections(stage: Stage, server: Any) -> None:
    with contextlib.suppress(ServerError):  # One has left by itself meanwhile.
        if stage.is_mariadb:
            server.sql(f"KILL CONNECTION USER {APP_USER}")
        else:
            server.sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{APP_USER}'"  # noqa: S608
            )


# --- the primary ---------------------------------------------------------------------------------


@contextmanager
def promote(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """The first replica takes over behind the primary's address; the old primary is shut down."""
    with _new_primary(stage) as old:
        old.stop()
        yield


@contextmanager
def switch_over(stage: Stage, servers: Sequence[Any]) -> Iterator[None]:
    """The same, and the old primary lives on, read-only, with the connections that it has."""
    began = time.monotonic()
    with _new_primary(stage):
        stage.seen["seconds to switch"] = time.monotonic() - began
        yield


@contextmanager
def _new_primary(stage: Stage) -> Iterator[Any]:
    cluster, old = stage.cluster, stage.cluster.primary
    # Nothing more is written there, or it would be lost.
    if stage.is_mariadb:
        old.sql("SET GLOBAL read_only = ON")
    else:
        old.configure(default_transaction_read_only="on")
    cluster.wait_all(timeout=30.0)
    cluster.promote(cluster.replicas[0])
    for replica in cluster.replicas:
        cluster.follow(replica, cluster.primary)
    stage.proxies[old].switch(cluster.primary.port)
    yield old


SPILL_LIMIT = 2
SPILLS = {"RWROUTER_SPILL_LIMIT": str(SPILL_LIMIT)}
LAGGING = (
    Role(level="window", writes=WRITE_SHARE),
    Role(level="window", sleep=0.2),
    Role(level="eventual"),
    Role(level="window", sleep=0.2),
)
"""Slow reads, so that many would be on the primary at once if they were let in."""

FAULTS: dict[str, Fault] = {
    "kill": Fault(what="kill -9, and started again", make=kill),
    "restart": Fault(what="restarted", make=restart, seconds=0.0),
    "freeze": Fault(what="SIGSTOP, then SIGCONT", make=freeze, silent=True, seconds=6.0),
    "cut": Fault(what="network cut: connections closed and refused", make=cut, network=True),
    "reset": Fault(what="network cut: connections reset", make=reset, network=True),
    "stall": Fault(what="network cut: silence", make=stall, network=True, silent=True, seconds=6.0),
    "stop-applying": Fault(what="applies nothing (SQL thread stopped)", make=stop_applying, seconds=8.0),
    "full": Fault(what="max_connections reached", make=fill, flaps=True),
    "drop": Fault(what="connections killed twice a second", make=drop, flaps=True),
    "idle": Fault(what="idle connections closed (wait_timeout)", make=close_idle),
    "flap": Fault(
        what="comes and goes each second, for a minute",
        make=flap,
        hits=("one",),
        seconds=60.0,
        network=True,
        returns=False,
    ),
    "delay": Fault(
        what=f"{LAG_SECONDS} s behind",
        make=delay,
        hits=("all",),
        seconds=20.0,
        roles=LAGGING,
        environment=SPILLS,
    ),
    "primary-freeze": Fault(
        what="SIGSTOP for 20 s, then SIGCONT", make=freeze, hits=("primary",), silent=True, seconds=20.0
    ),
    "primary-kill": Fault(what="kill -9, and started again", make=kill, hits=("primary",)),
    "promotion": Fault(
        what="a replica promoted behind the primary's address, the old one shut down",
        make=promote,
        hits=("primary",),
        network=True,
        keeps_cluster=False,
    ),
    "switchover": Fault(
        what="a replica promoted behind the primary's address, the old one left running, read-only",
        make=switch_over,
        hits=("primary",),
        # PostgreSQL's becomes a standby by a restart, and its connections end with it: that is "promotion".
        databases=("mariadb",),
        network=True,
        keeps_cluster=False,
    ),
}
