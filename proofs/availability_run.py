"""One run of the board under a steady load, in the middle of which servers fail."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from launcher.process import ServerError
from launcher.tcp_proxy import TcpProxy
from proofs.board import Board, served
from proofs.client import Answer
from proofs.faults import FAULTS, SPILL_LIMIT, Fault, Stage
from proofs.load import Load, Request, Role, User

REPLICAS = {"mariadb": 3, "postgresql": 2}
RATES = {"gunicorn": 150.0, "uvicorn": 50.0}
"""Requests a second that two processors manage: under ASGI, each opens its own connections."""
THREADS = 8
"""Of each of gunicorn's processes: those who wait for a primary that is away leave some to others."""

TIMEOUT_SECONDS = 2
"""``connect_timeout`` of both databases; MariaDB's ``read_timeout`` and ``write_timeout`` as well."""
MONITOR_SECONDS = 1.0
"""Both its ``INTERVAL`` and its ``TIMEOUT``."""
TIMEOUTS = {
    "mariadb": "?" + "&".join(f"{name}_timeout={TIMEOUT_SECONDS}" for name in ("connect", "read", "write")),
    "postgresql": f"?connect_timeout={TIMEOUT_SECONDS}",
}
SILENCE_SECONDS = {
    # An open connection is found dead after read_timeout, and a new one cannot be made in connect_timeout.
    ("mariadb", "replica"): 2.0 * TIMEOUT_SECONDS,
    # libpq has no limit for reads: the monitor ends them when the server has not answered it twice.
    ("postgresql", "replica"): 1.1 * MONITOR_SECONDS + 2 * MONITOR_SECONDS,
    # A read may ask the primary where it stands, and turn to it in the end: twice connect_timeout.
    ("mariadb", "primary"): 3.0 * TIMEOUT_SECONDS,
    # Its connections are ended when it has not answered the monitor three times.
    ("postgresql", "primary"): 2.2 * MONITOR_SECONDS + 3 * MONITOR_SECONDS + 2 * TIMEOUT_SECONDS,
}
"""After how long silent servers are given up, those that are silent at the same time together."""
SLACK_SECONDS = 1.0
"""What a request may take besides, on a machine where servers, site and users share the processors: so long
after the slowest before the fault."""
INTERVALS = 3
"""Within so many of the monitor's intervals a replica that is well again has reads again."""
RETURN_PATIENCE = 30.0
FOLLOWING_SECONDS = 3.0
"""How soon after another process has a replica back a first read counts as then, of one that logs nothing."""
MADE_AT, UNDONE_AT = 0.3, 0.6
"""When the fault is made and undone, as parts of the requests."""

RECONNECT_SHARE = 0.1
"""Before how many requests a user connects anew, and so may meet another process."""

STATE_CHANGE = re.compile(
    r"^(\S+ \S+) (\d+) \w+ django_rwrouter: The replica '(\w+)' is (ejected|restored)\b", re.MULTILINE
)
"""Of what the processes of a host learn of each other, only the one that found it writes."""
FAILOVER = re.compile(r"django_rwrouter: A read on '\w+' failed .* was run again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is to be."""

    database: str
    server: str
    """One of ``board.SERVERS``."""
    fault: str
    """One of ``faults.FAULTS``."""
    hit: str
    """``one`` replica, ``all`` of them, or the ``primary``."""
    requests: int = 20_000
    """At least so many; more if what happens takes longer."""
    rate: float = 0.0
    """Requests a second; 0: as many as suit the web server."""
    users: int = 24
    workers: int = 4
    """Processes of the site."""
    seconds: float | None = None
    """How long the fault lasts at least, if not as long as it usually does."""
    settle: float = 6.0
    """Seconds for which the load goes on at least when all is well again."""
    roles: Sequence[Role] = ()
    """What users do, if not what they usually do under this fault."""
    busy: float = 0.0
    """Seconds by which a machine that does other things as well may exceed what is promised."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further settings of the site."""
    arguments: Sequence[str] = ()
    """Further arguments of the web server."""

    @property
    def the_fault(self) -> Fault:
        """What happens."""
        return FAULTS[self.fault]

    @property
    def requests_per_second(self) -> float:
        """How much load there is."""
        return self.rate or RATES[self.server]

    @property
    def least_seconds(self) -> float:
        """How long the fault lasts at least."""
        return self.the_fault.seconds if self.seconds is None else self.seconds


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    version: str
    """What the primary calls itself."""
    requests: Sequence[Request]
    began: float
    made: float
    """When the fault was made; this and the others are monotonic seconds."""
    undone: float
    returned: float | None
    """When all servers that were hit answered again, and had caught up."""
    ended: float
    hit_aliases: Sequence[str]
    back: dict[tuple[str, str], float | None]
    """Seconds from then until a process had a replica back, by process and replica; ``None`` if it never read
    from it again."""
    state_changes: Counter[tuple[str, str]]
    """By process and replica, as processes write of them."""
    failovers: int
    seen: Mapping[str, float]
    log: str
    """The end of what the site wrote."""
    bound: float = 0.0
    broken: list[str] = field(default_factory=list)
    """What was promised and not kept."""

    @property
    def failed(self) -> list[Request]:
        """Requests that met an error."""
        return [request for request in self.requests if request.failed]

    @property
    def stale(self) -> list[Request]:
        """Requests that were stale where the level forbids it."""
        return [request for request in self.requests if request.stale and not request.excused]

    @property
    def slowest(self) -> float:
        """Seconds of the slowest request."""
        return max((request.seconds for request in self.requests), default=0.0)

    @property
    def phases(self) -> Mapping[str, list[Request]]:
        """Requests sent before, during and after."""
        edges = {
            "before": (self.began, self.made),
            "during": (self.made, self.undone),
            "after": (self.undone, self.ended),
        }
        return {
            name: [request for request in self.requests if start <= request.at < end]
            for name, (start, end) in edges.items()
        }

    def share(self, phase: str, aliases: Sequence[str]) -> float:
        """Return how much of the reading these databases did, from 0 to 1."""
        reads = [alias for request in self.phases[phase] for alias, _ in request.reads]
        return sum(alias in aliases for alias in reads) / max(len(reads), 1)


class Visitor(User):
    """Reads posts, and writes now and then, which it reads back at once, and again later."""

    def __init__(self, board: Board, load: Load, number: int, role: Role) -> None:
        super().__init__(load, number, role)
        self._name = f"user {number}"
        self._newest: int | None = None
        """The last post that this user was told to have written."""
        self._read_back = False
        query = f"level={role.level}" + (f"&sleep={role.sleep}" if role.sleep else "")
        query += f"&using={role.using}" if role.using else ""
        self._thread = board.thread
        self._posts = f"{board.prefix}/posts/"
        self._common = f"{self._posts}{board.post}/?{query}"
        self._latest = f"{board.prefix}/latest/?{query}&author={self._name.replace(' ', '+')}"
        self._own = f"{self._posts}%d/?{query}"

    def turn(self) -> bool:
        """Send one request."""
        if self.random.random() < RECONNECT_SHARE:
            self.browser.close()
        if not self._read_back and self.random.random() < self.role.writes:
            self._write()
        elif self._newest is None or (not self._read_back and self.random.random() < 0.5):
            self._read(self._common, lambda answer: answer.status == 404, own=False)
        elif self._read_back or self.random.random() < 0.5:
            self._read_back = False
            self._read(self._own % self._newest, lambda answer: answer.status == 404)
        else:
            self._read(self._latest, self._lacks_the_newest)
        return True

    def _write(self) -> None:
        data = {"thread": self._thread, "author": self._name, "text": "Here it is."}
        request = self.send(self._posts, data, statuses={201})
        if not request.failed:
            self._newest = int(json.loads(request.answer.body)["id"])
            self._read_back = True

    def _read(self, path: str, misses: Callable[[Answer], bool], *, own: bool = True) -> None:
        self.send(path, statuses={200, 404}, misses=misses, own=own)

    def _lacks_the_newest(self, answer: Answer) -> bool:
        if answer.status == 200:
            # What failed may have been written all the same.
            return self._newest is not None and int(json.loads(answer.body)["id"]) < self._newest
        return answer.status == 404


def run(cluster: Any, plan: Plan) -> Outcome:
    """Serve the board on a running cluster, and let a fault happen to it."""
    fault = plan.the_fault
    aliases = {
        cluster.primary: "default",
        **{replica: f"replica{number}" for number, replica in enumerate(cluster.replicas, start=1)},
    }
    servers = {"one": cluster.replicas[:1], "all": cluster.replicas[:], "primary": [cluster.primary]}[
        plan.hit
    ]
    hit_aliases = [aliases[each] for each in servers]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rwrouter-availability-")))
        proxies = {}
        if fault.network:
            proxies = {each: stack.enter_context(TcpProxy(each.port)) for each in aliases}
        stage = Stage(database=plan.database, cluster=cluster, proxies=proxies)
        version = str(cluster.primary.sql("SELECT VERSION()")[0][0])
        log = folder / "log"
        with serve(stage, plan, log) as board:
            load = Load(
                host=board.host,
                port=board.port,
                user=partial(Visitor, board),
                users=plan.users,
                rate=plan.requests_per_second,
                roles=plan.roles or fault.roles,
            )
            began = time.monotonic()
            with load.running():
                load.wait_for(int(plan.requests * MADE_AT))
                made = time.monotonic()
                with fault.make(stage, servers):
                    in_force = time.monotonic()
                    load.wait(lambda: _lasted(load, plan, in_force), timeout=120.0)
                    undone = time.monotonic()
                    if not fault.keeps_cluster:  # Another server is the primary now.
                        servers = [cluster.primary]
                returned = _wait_for_return(cluster, servers)
                back = _watch_return(load, hit_aliases, returned) if returned is not None else {}
                load.wait_for(plan.requests)
                load.wait(lambda: time.monotonic() > (returned or undone) + plan.settle, timeout=60.0)
                ended = time.monotonic()
        text = log.read_text(encoding="utf-8", errors="replace")
    changes = STATE_CHANGE.findall(text)
    outcome = Outcome(
        plan=plan,
        version=version,
        requests=tuple(load.requests),
        began=began,
        made=made,
        undone=undone,
        returned=returned,
        ended=ended,
        hit_aliases=hit_aliases,
        back=back if returned is None else by_their_own_account(back, changes, undone, returned),
        state_changes=Counter((pid, alias) for _at, pid, alias, _what in changes),
        failovers=len(FAILOVER.findall(text)),
        seen=stage.seen,
        log=text[-20_000:],
    )
    outcome.bound = bound(outcome)
    outcome.broken = [broken for promise in PROMISES for broken in promise(outcome)]
    return outcome


def _lasted(load: Load, plan: Plan, since: float) -> bool:
    enough = len(load.requests) >= plan.requests * UNDONE_AT or plan.least_seconds == 0.0
    return enough and time.monotonic() >= since + plan.least_seconds


def _wait_for_return(cluster: Any, servers: Sequence[Any]) -> float | None:
    """Return when all servers answer and have caught up, or ``None`` if they do not."""
    deadline = time.monotonic() + RETURN_PATIENCE

    def level(server: Any) -> None:
        while True:
            try:
                if server is not cluster.primary:
                    cluster.wait(server, timeout=RETURN_PATIENCE)
                else:
                    server.sql("SELECT 1", timeout=RETURN_PATIENCE)
            except ServerError as error:  # It lets nobody in yet.
                if time.monotonic() > deadline:
                    raise TimeoutError from error
                time.sleep(0.05)
            else:
                return

    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(level, servers))
    except TimeoutError:
        return None
    return time.monotonic()


def _watch_return(load: Load, aliases: Sequence[str], returned: float) -> dict[tuple[str, str], float | None]:
    """Return after how many seconds each process has used each database again."""
    processes = {request.answer.process for request in load.requests[-1000:]} - {""}
    wanted = [(process, alias) for process in sorted(processes) for alias in aliases]
    back: dict[tuple[str, str], float | None] = dict.fromkeys(wanted)

    def all_are_back() -> bool:
        for request in load.requests[-2000:]:
            if request.at < returned or request.failed:
                continue
            for alias in (each.split(" ", 1)[0] for each in request.answer.served_by.split("; ")):
                if back.get((request.answer.process, alias), 0.0) is None:
                    back[request.answer.process, alias] = max(0.0, request.at - returned)
        return None not in back.values()

    load.wait(all_are_back, RETURN_PATIENCE)
    return back


def by_their_own_account(
    back: Mapping[tuple[str, str], float | None],
    changes: Sequence[Sequence[str]],
    undone: float,
    returned: float,
) -> dict[tuple[str, str], float | None]:
    """Return when each process restored what it had ejected, by the log; otherwise its first read.

    A process that has few requests may use a replica again for a second or two until one happens to go
    there. One that follows another's monitor logs nothing: if its first read came soon after, it returned
    with that one.
    """
    clock = time.time() - time.monotonic()
    wrote = {(process, alias) for _at, process, alias, _what in changes}
    times = dict(back)
    for at, process, alias, what in changes:
        moment = (
            datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=timezone.utc).timestamp() - clock
        )
        if what != "restored" or moment < undone:
            continue
        for key, seconds in times.items():
            told = max(0.0, moment - returned)
            follows = key[1] == alias and key not in wrote
            if seconds is not None and (
                key == (process, alias) or (follows and seconds <= told + FOLLOWING_SECONDS)
            ):
                times[key] = min(seconds, told)
    return times


@contextmanager
def serve(stage: Stage, plan: Plan, log: Path) -> Iterator[Board]:
    """Serve the board as planned."""
    cluster = stage.cluster

    def url(server: Any) -> str:
        proxy = stage.proxies.get(server)
        address: str = server.url(port=None if proxy is None else proxy.port)
        return address + TIMEOUTS[stage.database]

    environment = {
        "DATABASE_URL": url(cluster.primary),
        "REPLICA_URLS": ",".join(url(replica) for replica in cluster.replicas),
        # For users at other levels, reads name theirs; a token has a position only where the site's needs it.
        "RWROUTER_CONSISTENCY": "causal",
        "RWROUTER_MONITOR_INTERVAL": str(MONITOR_SECONDS),
        "RWROUTER_MONITOR_TIMEOUT": str(MONITOR_SECONDS),
        **plan.the_fault.environment,
        **plan.environment,
    }
    with served(
        cluster,
        environment,
        server=plan.server,
        workers=plan.workers,
        threads=THREADS,
        arguments=plan.arguments,
        log=log,
    ) as board:
        yield board


def bound(outcome: Outcome) -> float:
    """Return how long a request may take."""
    plan = outcome.plan
    role = "primary" if plan.hit == "primary" else "replica"
    silence = SILENCE_SECONDS[plan.database, role] if plan.the_fault.silent else 0.0
    slow = max(role.sleep for role in plan.roles or plan.the_fault.roles)
    untroubled = [each.seconds for each in outcome.phases["before"] if each.at + each.seconds < outcome.made]
    slowest_before = max(untroubled, default=0.0)
    return silence + slow + slowest_before + SLACK_SECONDS + plan.busy


def _load_was_there(outcome: Outcome) -> Iterator[str]:
    if len(outcome.requests) < outcome.plan.requests:
        yield f"only {len(outcome.requests)} requests"
    for phase, requests in outcome.phases.items():
        if not requests and not (phase == "during" and outcome.plan.least_seconds == 0.0):
            yield f"no request {phase} the fault"
    if outcome.share("before", outcome.hit_aliases) == 0:
        yield "the servers that were hit had no reads before"
    processes = {request.answer.process for request in outcome.requests} - {""}
    if len(processes) < outcome.plan.workers:
        yield f"only {len(processes)} of {outcome.plan.workers} processes had requests"


def _nobody_met_an_error(outcome: Outcome) -> Iterator[str]:
    failed = outcome.failed
    if outcome.plan.hit == "primary":
        failed = [each for each in failed if not needed_the_primary(each, outcome)]
    if failed:
        kinds = Counter((each.method, each.role.level, each.answer.status) for each in failed).most_common(3)
        first = failed[0].at - outcome.made
        yield f"{len(failed)} failed, the first {first:.1f} s after the fault was made: {kinds}"


def needed_the_primary(request: Request, outcome: Outcome) -> bool:
    """Whether a request may fail that was under way while the primary was away: with the driver's error.

    Writes, and reads that are bound to it. Who has not written is bound to nothing.
    """
    end = (outcome.returned or outcome.ended) + INTERVALS * MONITOR_SECONDS
    was_under_way = request.at + request.seconds >= outcome.made and request.at <= end
    return request.role.writes > 0 and was_under_way


def _nobody_missed_anything(outcome: Outcome) -> Iterator[str]:
    stale = outcome.stale
    if outcome.plan.fault == "switchover":
        # Until the monitor has noticed, some connections still lead to the old primary, which answers.
        noticed = outcome.made + outcome.seen["seconds to switch"] + INTERVALS * MONITOR_SECONDS
        stale = [each for each in stale if each.at > noticed]
    if stale:
        kinds = Counter((each.role.level, each.answer.served_by) for each in stale).most_common(3)
        last = stale[-1].at - outcome.made
        yield f"{len(stale)} stale, the last {last:.1f} s after the fault was made: {kinds}"


def _nobody_waited_too_long(outcome: Outcome) -> Iterator[str]:
    if outcome.slowest > outcome.bound:
        late = [each for each in outcome.requests if each.seconds > outcome.bound]
        kinds = Counter((each.method, each.role.level, each.answer.served_by) for each in late).most_common(3)
        yield f"{len(late)} took longer than {outcome.bound:.1f} s: {kinds}"


def _reads_came_back(outcome: Outcome) -> Iterator[str]:
    if not outcome.plan.the_fault.returns:
        return
    if outcome.returned is None:
        yield "the servers have not caught up again"
    missing = [key for key, seconds in outcome.back.items() if seconds is None]
    if missing:
        yield f"no reads again within {RETURN_PATIENCE:.0f} s: {missing}"
    # One that has come and gone is left alone for longer each time.
    flapped = {alias for (_process, alias), changes in outcome.state_changes.items() if changes > 2}
    steady = [
        seconds
        for (_process, alias), seconds in outcome.back.items()
        if seconds is not None and not (outcome.plan.the_fault.flaps and alias in flapped)
    ]
    longest = max(steady, default=0.0)
    if longest > INTERVALS * MONITOR_SECONDS + outcome.plan.busy:
        yield f"reads came back after {longest:.1f} s"


def _special_promises(outcome: Outcome) -> Iterator[str]:
    if outcome.plan.fault == "flap":
        most = max(outcome.state_changes.values(), default=0)
        if most >= 10:
            yield f"{most} changes of state in one process"
    if outcome.plan.fault == "delay":
        at_once = outcome.seen["slow reads on the primary at once"]
        if at_once > SPILL_LIMIT * outcome.plan.workers:
            yield f"{at_once} spilled reads at once on the primary, of {outcome.plan.workers} processes"
        if at_once == 0:
            yield "no read spilled to the primary"
        eventual = [each for each in outcome.phases["during"] if each.role.level == "eventual"]
        if any(alias == "default" for each in eventual for alias, _ in each.reads):
            yield "eventual reads went to the primary"
    if outcome.plan.fault in {"delay", "primary-freeze"}:
        rates = [_rate(outcome, phase) for phase in ("before", "during")]
        if rates[1] < 0.9 * rates[0]:
            yield f"eventual reads: {rates[0]:.0f} a second before, {rates[1]:.0f} during the fault"


def _rate(outcome: Outcome, phase: str) -> float:
    start, end = {"before": (outcome.began, outcome.made), "during": (outcome.made, outcome.undone)}[phase]
    answered = [each for each in outcome.phases[phase] if each.role.level == "eventual" and not each.failed]
    return len(answered) / (end - start)


PROMISES: Sequence[Callable[[Outcome], Iterator[str]]] = (
    _load_was_there,
    _nobody_met_an_error,
    _nobody_missed_anything,
    _nobody_waited_too_long,
    _reads_came_back,
    _special_promises,
)
"""Each yields what was not kept, in words."""
