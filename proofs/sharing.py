"""The proof that the processes of a host need one monitor, whatever happens to the process that is elected.

    python -m proofs sharing --processes 64 --output proofs/reports/sharing.md
    python -m proofs sharing --processes 1 10 64 --trouble none --db mariadb

For each database: a primary with two replicas that are paused and let go at random, and many processes whose
clients write and read at ``causal``, ``window`` and ``eventual``. Each server counts the connections that are
left when no client does anything: the monitor's. In the middle of the load the elected process is killed or
stopped, several times; or the directory in which the processes meet is full, read-only, or has another user's
file. These three need root, for ``mount`` and ``chown``. Exits with 0 if all went as promised.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from importlib import import_module
from multiprocessing.context import ForkProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

import django
import environ
from django.conf import settings
from django.db import connections

from proofs.board import CLUSTERS, DATABASE
from proofs.faults import APP_USER, Intensity, disturbed

DATABASES: Final = ("mariadb", "postgresql")
ALIASES: Final = ("default", "replica1", "replica2")
TABLE: Final = "rwrouter_sharing"
LEVELS: Final = ("causal", "window", "eventual")
CLIENTS: Final = 3
"""Of each process."""
RATE: Final = 40.0
"""Reads and writes a second that all processes do together, at most."""
WRITE_SHARE: Final = 0.15
PIN_INTERVALS: Final = 2.5
"""``PIN_SECONDS``, and so ``MAX_LAG``."""
PAUSE_INTERVALS: Final = 6
PATIENCE: Final = 60.0
"""Seconds after which what has not happened will not happen."""
SETTLED: Final = 8
"""Intervals of load before and after the trouble."""
SERVER_OPTIONS: Final = {
    "mariadb": ["--max-connections=400"],
    "postgresql": ["-c", "max_connections=400"],
}
"""Room for the connections of processes that each probe by themselves."""
COUNTED: Final = 10
"""Intervals over which statements are counted."""
PROMISED: Final = 2.0
"""Intervals within which every process has new knowledge of every server."""
ALONE: Final = "This process asks the servers by itself"
"""What a process logs that cannot share."""
OTHER_USER: Final = 65534

HOLD, LOAD, END = range(3)
COUNTS: Final = ("writes", *LEVELS, "on replicas", "stale", "stale at eventual", "failed")


class Ledger:
    """Memory that all processes share, without locks: a process that is killed would keep them."""

    def __init__(self, members: int) -> None:
        context = multiprocessing.get_context("fork")
        self.phase = context.RawValue("i", HOLD)
        self.started = context.RawValue("i", 0)
        """How many processes take part; the others wait for their turn."""
        self.holds = [context.RawValue("i", 0) for _ in range(members)]
        self.counts = [context.RawArray("q", len(COUNTS)) for _ in range(members)]
        self.probed = [context.RawArray("d", len(ALIASES)) for _ in range(members)]
        """When the newest probe of each server began that a process has learnt from (monotonic seconds)."""

    def total(self, name: str) -> int:
        """Add up a count of all processes."""
        return sum(counts[COUNTS.index(name)] for counts in self.counts)


class Member:
    """One process, with clients that each have a row, a token, and the version that they wrote last."""

    def __init__(self, ledger: Ledger, number: int, pause: float) -> None:
        self._ledger, self._number, self._pause = ledger, number, pause
        self._draw = random.Random(number)
        self._rows = range(number * CLIENTS, (number + 1) * CLIENTS)
        self._versions = dict.fromkeys(self._rows, 1)
        self._tokens = dict.fromkeys(self._rows, "")

    def live(self) -> None:
        """Write and read until the end."""
        from django_rwrouter import monitor
        from django_rwrouter.monitor.verdicts import Verdicts

        while self._number >= self._ledger.started.value:
            time.sleep(0.02)
        heard = Verdicts.heard

        def note(watch: Any, result: Any, now: float) -> None:
            heard(watch, result, now)
            if not result.failure:
                self._ledger.probed[self._number][ALIASES.index(result.alias)] = result.began

        with patch.object(Verdicts, "heard", note):
            monitor.ensure_running()
            while (phase := self._ledger.phase.value) != END:
                if phase == LOAD:
                    self._turn()
                    time.sleep(self._draw.uniform(0, 2 * self._pause))
                else:
                    time.sleep(0.02)
                self._ledger.holds[self._number].value = int(phase == HOLD)
        os._exit(0)  # What is open is closed by the kernel, as it is for a process that is killed.

    def _count(self, name: str) -> None:
        self._ledger.counts[self._number][COUNTS.index(name)] += 1

    def _turn(self) -> None:
        row = self._draw.choice(self._rows)
        try:
            (self._write if self._draw.random() < WRITE_SHARE else self._read)(row)
        except Exception as error:  # noqa: BLE001  (whatever a client meets)
            self._count("failed")
            print(f"failed: {error!r}", flush=True)
        finally:
            connections.close_all()  # As after each request, with CONN_MAX_AGE 0.

    def _write(self, row: int) -> None:
        from django_rwrouter import current_token, routing_scope

        version = self._versions[row] + 1
        with routing_scope(token=self._tokens[row]):
            with connections[ALIASES[0]].cursor() as cursor:
                cursor.execute(f"UPDATE {TABLE} SET version = %s WHERE id = %s", [version, row])  # noqa: S608
            token = current_token()
        self._versions[row], self._tokens[row] = version, token
        self._count("writes")

    def _read(self, row: int) -> None:
        from django_rwrouter import consistency, read_connection, routing_scope

        level = self._draw.choice(LEVELS)
        with routing_scope(safe=True, token=self._tokens[row]), consistency(level):
            connection = read_connection()
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT version FROM {TABLE} WHERE id = %s", [row])  # noqa: S608
                [(seen,)] = cursor.fetchall()
        self._count(level)
        if connection.alias != ALIASES[0]:
            self._count("on replicas")
        if seen < self._versions[row]:
            self._count("stale at eventual" if level == "eventual" else "stale")
            if level != "eventual":
                print(f"stale: {level} on {connection.alias}, {seen} instead of {self._versions[row]}")


@dataclass(kw_only=True)
class Outcome:
    """What came of one trouble."""

    database: str
    trouble: str
    processes: int
    interval: float
    """Seconds."""
    counts: dict[str, int] = field(default_factory=dict)
    connections: list[int] = field(default_factory=list)
    """The monitor's, before the trouble, on each server."""
    afterwards: list[int] = field(default_factory=list)
    """The same after it."""
    statements: list[float] = field(default_factory=list)
    """The monitor's in an interval, on each server."""
    renewed: list[float] = field(default_factory=list)
    """After how many intervals all processes had new knowledge of all servers."""
    alone: int = 0
    """How many processes have said that they probe by themselves."""
    log: str = ""

    @property
    def broken(self) -> list[str]:
        """What was promised and not kept, but for the time."""
        trouble = TROUBLES[self.trouble]
        broken = [f"{self.counts[name]:,} {name}" for name in ("stale", "failed") if self.counts[name]]
        if not self.counts["stale at eventual"]:
            broken.append("nothing was stale at eventual, so nothing is proved")
        if self.connections != [1 if trouble.shares_before else self.processes] * len(ALIASES):
            broken.append(f"connections: {self.connections}")
        if self.afterwards != [self.processes if trouble.says else 1] * len(ALIASES):
            broken.append(f"connections afterwards: {self.afterwards}")
        if self.alone != (self.processes if trouble.says else 0):
            broken.append(f"{self.alone} processes said that they share nothing")
        return broken

    @property
    def is_late(self) -> bool:
        """Whether new knowledge took longer than promised."""
        return max(self.renewed, default=0.0) > PROMISED


class Host:
    """The processes of a host, in one directory."""

    def __init__(self, cluster: Any, outcome: Outcome, directory: Path, log: Path, spares: int) -> None:
        self.cluster, self.outcome, self.directory = cluster, outcome, directory
        self.log = log
        self.ledger = Ledger(outcome.processes + spares)
        self.processes: list[ForkProcess] = []
        self.taking_part: list[int] = []
        """Numbers of the processes that live and are not stopped."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the processes live inside the block."""
        context = multiprocessing.get_context("fork")
        pause = self.outcome.processes / RATE
        for number in range(len(self.ledger.holds)):
            member = Member(self.ledger, number, pause)
            process = context.Process(target=partial(self._live, member), daemon=True)
            process.start()
            self.processes.append(process)
        for _ in range(self.outcome.processes):
            self.start_one()
        try:
            yield
        finally:
            self.ledger.phase.value = END
            for process in self.processes:
                process.kill()
                process.join()

    def _live(self, member: Member) -> None:
        output = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["XDG_RUNTIME_DIR"] = str(self.directory.parent)
        member.live()

    def start_one(self) -> None:
        """Let one more process take part."""
        self.taking_part.append(self.ledger.started.value)
        self.ledger.started.value += 1

    def all_know(self, since: float) -> bool:
        """Whether all processes know of probes of all servers that began after that time."""
        return all(min(self.ledger.probed[number]) > since for number in self.taking_part)

    def elected(self) -> int | None:
        """Return the number of the process that holds the lock, as the kernel says."""
        locks = {path.stat().st_ino for path in self.directory.glob("*.lock")}
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _, kind, _, _, pid, file, *_ = line.replace("-> ", "").split()
            if kind == "FLOCK" and int(file.rpartition(":")[2]) in locks:
                for number in self.taking_part:
                    if self.processes[number].pid == int(pid):
                        return number
        return None

    def hold(self) -> None:
        """Return when no client does anything any more."""
        for number in self.taking_part:
            self.ledger.holds[number].value = 0
        self.ledger.phase.value = HOLD
        until(lambda: all(self.ledger.holds[number].value for number in self.taking_part), "rest")

    def monitor_connections(self, expected: int) -> list[int]:
        """Count the connections to each server while nobody works; waits a while for the expected number."""
        self.hold()
        deadline = time.monotonic() + 5 * self.outcome.interval
        while True:
            counted = [self._count(server) for server in self.cluster.servers]
            if set(counted) == {expected} or time.monotonic() > deadline:
                return counted
            time.sleep(0.1)

    def _count(self, server: Any) -> int:
        query = {
            "mariadb": "SELECT COUNT(*) FROM information_schema.processlist WHERE user",
            "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE usename",
        }[self.outcome.database]
        return int(server.sql(f"{query} = '{APP_USER}'")[0][0])

    def alone(self) -> int:
        """Count the processes that have said that they share nothing, for the reason that there is."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        why = TROUBLES[self.outcome.trouble].says
        return sum(ALONE in line and why in line for line in lines)

    def statements(self) -> list[float]:
        """Count the statements on each server while nobody works, in an interval."""
        before = [self._statements(server) for server in self.cluster.servers]
        time.sleep(COUNTED * self.outcome.interval)
        after = [self._statements(server) for server in self.cluster.servers]
        return [(late - early) / COUNTED for early, late in zip(before, after, strict=True)]

    def _statements(self, server: Any) -> int:
        if self.outcome.database == "mariadb":
            # Of the administrator's own, the second look alone is counted: two in ten intervals.
            return int(server.sql("SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])
        return int(
            server.sql(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
            )[0][0]
        )


def until(condition: Callable[[], bool], what: str) -> None:
    """Return when something is so; raises ``TimeoutError`` if it never is."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} after {PATIENCE:.0f} s")
        time.sleep(0.005)


# --- troubles ------------------------------------------------------------------------------------


def nothing(_host: Host) -> None:
    """Go on, with what is so from the beginning."""


def _lose(host: Host, number: signal.Signals) -> ForkProcess:
    """Send the elected process a signal, and wait until the others know anew of all servers."""
    until(lambda: host.all_know(time.monotonic() - 2 * host.outcome.interval), "shared knowledge")
    elected = host.elected()
    if elected is None:
        raise LookupError("no process is elected")
    host.taking_part.remove(elected)
    began = time.monotonic()
    os.kill(host.processes[elected].pid or 0, number)
    until(lambda: host.all_know(began), "new knowledge")
    host.outcome.renewed.append((time.monotonic() - began) / host.outcome.interval)
    return host.processes[elected]


def kill(host: Host) -> None:
    """SIGKILL of the elected process."""
    _lose(host, signal.SIGKILL).join()
    host.start_one()


def stop(host: Host) -> None:
    """SIGSTOP of the elected process, which goes on when another has taken over."""
    process = _lose(host, signal.SIGSTOP)
    continued = time.monotonic()
    os.kill(process.pid or 0, signal.SIGCONT)
    host.taking_part.append(host.processes.index(process))
    until(lambda: host.all_know(continued), "knowledge of the stopped process")


def full(host: Host) -> None:
    """The file system of the runtime directory gets full."""
    with (host.directory / "other").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    began = time.monotonic()
    until(lambda: host.all_know(began), "new knowledge")
    # Until then it may be what was published before.
    until(lambda: host.alone() == len(host.taking_part), "word of it from every process")


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What happens to the processes."""

    what: str
    """In words, for the report."""
    make: Callable[[Host], None] = nothing
    is_repeated: bool = False
    says: str = ""
    """Why processes say that they share nothing; empty if they go on sharing."""
    shares_before: bool = True


TROUBLES: Final[Mapping[str, Trouble]] = {
    "none": Trouble(what="none"),
    "kill": Trouble(what="SIGKILL of the elected process", make=kill, is_repeated=True),
    "stop": Trouble(what="SIGSTOP of the elected process", make=stop, is_repeated=True),
    "full": Trouble(what="the directory gets full", make=full, says="No space left on device"),
    "read-only": Trouble(
        what="the directory is read-only", says="Read-only file system", shares_before=False
    ),
    "foreign": Trouble(
        what="another user's files in the directory", says="belongs to another user", shares_before=False
    ),
}


@contextmanager
def runtime_directory(folder: Path, trouble: str) -> Iterator[Path]:
    """Yield the directory of the processes, with what is wrong with it from the beginning."""
    parent = folder / "runtime"
    parent.mkdir(0o700)
    directory = parent / "django-rwrouter"
    with ExitStack() as stack:
        if trouble in {"full", "read-only"}:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(parent)], check=True)
            stack.callback(subprocess.run, ["umount", "--lazy", str(parent)], check=True)
        directory.mkdir(0o700)
        if trouble == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(parent)], check=True)
        if trouble == "foreign":
            from django_rwrouter.conf.clusters import get_topology
            from django_rwrouter.monitor.election import HostElection
            from django_rwrouter.monitor.snapshot import Snapshot

            with patch.dict(os.environ, XDG_RUNTIME_DIR=str(parent)):
                election = HostElection(get_topology(), 1.0)
            election.leads()
            election.publish(Snapshot())
            election.close()
            for file in directory.iterdir():
                os.chown(file, OTHER_USER, OTHER_USER)
        yield directory


# --- a run ---------------------------------------------------------------------------------------


def run(cluster: Any, outcome: Outcome, times: int, settled: int = SETTLED) -> Outcome:
    """Let one trouble happen to processes on a running cluster to which the aliases lead."""
    spares = times if outcome.trouble == "kill" else 0  # Each takes the place of one that was killed.
    _make_rows((outcome.processes + spares) * CLIENTS)
    cluster.wait_all()
    trouble = TROUBLES[outcome.trouble]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rwrouter-sharing-")))
        directory = stack.enter_context(runtime_directory(folder, outcome.trouble))
        log = folder / "log"
        log.touch()
        host = Host(cluster, outcome, directory, log, spares)
        stack.enter_context(host.running())
        until(lambda: host.all_know(0.0), "knowledge of the servers")
        outcome.connections = host.monitor_connections(1 if trouble.shares_before else outcome.processes)
        if outcome.trouble == "none":
            outcome.statements = host.statements()
        host.ledger.phase.value = LOAD
        pauses = Intensity((2, 5, 0), PAUSE_INTERVALS * outcome.interval)
        with disturbed(cluster, pauses, seed=outcome.processes):
            time.sleep(settled * outcome.interval)
            for _ in range(times if trouble.is_repeated else 1):
                trouble.make(host)
            time.sleep(settled * outcome.interval)
        outcome.afterwards = host.monitor_connections(outcome.processes if trouble.says else 1)
        outcome.counts = {name: host.ledger.total(name) for name in COUNTS}
        outcome.alone = host.alone()
        outcome.log = log.read_text(encoding="utf-8")
    return outcome


def _make_rows(count: int) -> None:
    values = ", ".join(f"({row}, 1)" for row in range(count))
    with connections[ALIASES[0]].cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        cursor.execute(f"CREATE TABLE {TABLE} (id integer PRIMARY KEY, version integer NOT NULL)")
        cursor.execute(f"INSERT INTO {TABLE} VALUES {values}")  # noqa: S608
    connections.close_all()


def run_alone(
    database: str, plans: Sequence[tuple[str, int]], interval: float, times: int, settled: int = SETTLED
) -> list[Outcome]:
    """Do so for each trouble and number of processes, in a process that knows no other database."""
    module, name = CLUSTERS[database]
    cluster_type = getattr(import_module(module), name)
    options = SERVER_OPTIONS[database]
    with cluster_type(replicas=len(ALIASES) - 1, database=DATABASE, options=options) as cluster:
        databases = {
            alias: environ.Env.db_url_config(server.url())
            for alias, server in zip(ALIASES, cluster.servers, strict=True)
        }
        settings.configure(
            SECRET_KEY="for the proof only",  # noqa: S106  (guards nothing)
            USE_TZ=True,
            DATABASES=databases,
            DATABASE_ROUTERS=["django_rwrouter.router.ReadWriteRouter"],
            INSTALLED_APPS=["django_rwrouter"],
            LOGGING_CONFIG=None,
            RWROUTER={
                "REPLICAS": list(ALIASES[1:]),
                "CONSISTENCY": "causal",
                "PIN_SECONDS": PIN_INTERVALS * interval,
                "WAIT_TIMEOUT": 0.02,
                "MONITOR": {"INTERVAL": interval, "TIMEOUT": max(interval, 1.0), "SHARE": "host"},
                "STATS": {"BACKEND": "off"},
            },
        )
        django.setup()
        # The monitor reads the switches of operators there.
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        connections.close_all()
        return [
            run(
                cluster,
                Outcome(database=database, trouble=trouble, processes=processes, interval=interval),
                times,
                settled,
            )
            for trouble, processes in plans
        ]


def in_a_process(work: Callable[[], list[Outcome]]) -> list[Outcome]:
    """Run it in a new process: Django can be set up once in each."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work).result()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the proof can be told."""
    parser.add_argument("--db", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--processes", nargs="+", type=int, default=[64], metavar="N")
    parser.add_argument("--trouble", nargs="+", choices=TROUBLES, default=list(TROUBLES))
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="of the monitor")
    parser.add_argument(
        "--times", type=int, default=10, metavar="N", help="how often one is killed or stopped"
    )


def prove(options: argparse.Namespace, command: str) -> bool:
    """Run all that is asked for. Returns whether all of it went as promised."""
    plans = [(trouble, processes) for trouble in options.trouble for processes in options.processes]
    outcomes: list[Outcome] = []
    report = ""
    for database in options.db:
        outcomes += in_a_process(partial(run_alone, database, plans, options.interval, options.times))
        for outcome in outcomes:
            if outcome.broken:
                print(outcome.log)
        report = written(outcomes, command)
        if options.output is not None:
            options.output.write_text(report, encoding="utf-8")
    if options.output is None:
        print(report)
    return not any(outcome.broken or outcome.is_late for outcome in outcomes)


def written(outcomes: Sequence[Outcome], command: str) -> str:
    """Return the report."""
    table = [HEADINGS, ["---"] * len(HEADINGS)]
    for outcome in outcomes:
        broken = [*outcome.broken, *(["new knowledge was late"] if outcome.is_late else [])]
        table.append(
            [
                outcome.database,
                TROUBLES[outcome.trouble].what,
                f"{outcome.processes}",
                " ".join(f"{count}" for count in outcome.connections),
                " ".join(f"{count}" for count in outcome.afterwards),
                " ".join(f"{count:.1f}" for count in outcome.statements),
                f"{len(outcome.renewed)}" if outcome.renewed else "",
                f"{max(outcome.renewed):.2f}" if outcome.renewed else "",
                f"{outcome.alone}",
                f"{outcome.counts['writes']:,}",
                f"{outcome.counts['causal'] + outcome.counts['window']:,}",
                f"**{outcome.counts['stale']:,}**",
                f"{outcome.counts['stale at eventual']:,} of {outcome.counts['eventual']:,}",
                f"**{outcome.counts['failed']:,}**",
                "as promised" if not broken else f"**{'; '.join(broken)}**",
            ]
        )
    made = (
        f"Made by `{command}` on {datetime.now(timezone.utc):%Y-%m-%d}, with Python"
        f" {platform.python_version()} and Django {django.get_version()}."
    )
    lines = [
        "# One monitor for each host: the proof",
        "",
        made,
        "",
        WHAT_WAS_DONE,
        "",
        *("| " + " | ".join(cells) + " |" for cells in table),
    ]
    return "\n".join(lines).rstrip() + "\n"


HEADINGS: Final = [
    "database",
    "trouble",
    "processes",
    "connections of the monitor",
    "afterwards",
    "statements in an interval",
    "times",
    "intervals until new knowledge, at most",
    "said that they share nothing",
    "writes",
    "reads at `causal` and `window`",
    "stale",
    "stale at `eventual`",
    "failed",
    "",
]
WHAT_WAS_DONE: Final = f"""\
Processes of one host write and read, {RATE:.0f} times a second at most all together, while two replicas
are paused for up to {PAUSE_INTERVALS} intervals and let go at random. Connections are counted on the primary
and the two replicas while no client does anything, and statements as well, over {COUNTED} intervals. After a
signal the time is measured until every other process has learnt of a probe of every server that began after
it. A read is stale if it shows less than its client has written; at `eventual` there must be such."""
