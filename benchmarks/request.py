"""Part 2: what a whole request costs beyond one without a router.

Each contestant has a process of its own, which serves requests through Django's real handlers. They are asked
in turn, A B C and then C B A, and each turn is compared with that of no router beside it. Calls of functions
are counted as well: they repeat exactly, where times do not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import report
from benchmarks.contestants import BASELINE, CONTESTANTS, OURS
from benchmarks.environment import ROOT, worker_environment
from benchmarks.parts import Run, Table
from benchmarks.prepare import fill

NONE: Final = "none"
PEER: Final = "django-multidb-router"
WINDOW, CAUSAL, STRONG = (f"{OURS}:{level}" for level in ("window", "causal", "strong"))
WHO: Final = (NONE, BASELINE, "rails-window", PEER, WINDOW, CAUSAL, STRONG)
PAGE: Final = ROOT / "docs" / "benchmarks.md"
SERVERS: Final = 2
"""Replicas."""
SETTLE_SECONDS: Final = 3.0
"""For replicas to replay what was written, and for monitors to see it."""
PROBED_SECONDS: Final = 1.5
"""For monitors that have just been started to have probed every server."""
SECONDS_OF_A_SCENE: Final = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A request, and who makes it."""

    title: str
    path: str
    requests: int
    """In one turn."""
    aim: int | None = None
    """The most calls beyond no router at ``window`` and ``causal``."""
    method: str = "GET"
    site: str = "plain"
    wrote_seconds_ago: float | None = None
    """When the client's last write was, if it has written."""


_LONG_AGO: Final = 20.0
"""Longer than any contestant's window."""


def _reads(title: str, path: str, requests: int, aim: int) -> Iterator[Scene]:
    """Yield a scene of reads as it is, and with the cookies of an earlier write."""
    yield Scene(title=title, path=path, requests=requests, aim=aim)
    for when, seconds in (("wrote earlier", _LONG_AGO), ("wrote a moment ago", 0.0)):
        yield Scene(
            title=f"{title}, {when}", path=path, requests=requests, aim=aim + 25, wrote_seconds_ago=seconds
        )


SCENES: Final = (
    *_reads("GET without a query", "/", 60, 25),
    *_reads("one `get()`", "/one/", 30, 85),
    *_reads("page of 12 reads of 4 models", "/page/", 5, 150),
    Scene(title="POST with one UPDATE", path="/write/", method="POST", requests=8, aim=120),
    Scene(title="one `get()`, logged in", path="/one/", site="users", requests=20),
    Scene(
        title="one `get()`, logged in, `session` store",
        path="/one/",
        site="session",
        requests=20,
        wrote_seconds_ago=_LONG_AGO,
    ),
    Scene(title="async GET without a query", path="/async/", method="ASYNC", requests=20),
)


class Process:
    """A contestant's process."""

    def __init__(self, contestant: str, site: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.workers.request"],
            env=worker_environment(
                {**environment, "BENCH_SERVERS": str(SERVERS), "BENCH_SITE": site}, CONTESTANTS[contestant]
            ),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate(timeout=30)

    def ask(self, method: str, /, **arguments: object) -> Any:
        """Call a method of the worker's ``Site``."""
        commands, answers = self._process.stdin, self._process.stdout
        if commands is None or answers is None:
            raise RuntimeError("the process has no pipes")
        print(json.dumps([method, arguments]), file=commands, flush=True)
        line = answers.readline()
        if not line:
            raise RuntimeError(f"{method}{arguments}: the process ended")
        return json.loads(line)

    def enter(self, scene: Scene) -> None:
        """Be the client of a scene."""
        self.ask("become", logged_in=scene.site != "plain", wrote_seconds_ago=scene.wrote_seconds_ago)


@contextmanager
def processes(who: Sequence[str], site: str, environment: Mapping[str, str]) -> Iterator[dict[str, Process]]:
    """Start a process for each contestant."""
    with ExitStack() as stack:
        yield {key: stack.enter_context(Process(key, site, environment)) for key in who}


def sites() -> Iterator[tuple[str, list[Scene]]]:
    """Yield each site with its scenes."""
    for site in dict.fromkeys(scene.site for scene in SCENES):
        yield site, [scene for scene in SCENES if scene.site == site]


def measure(run: Run) -> list[Table]:
    """Count and time every scene for every contestant."""
    who = [key for key in WHO if not (run.verdicts[key].router or run.verdicts[key].middleware)]
    urls = run.environment["REPLICA_URLS"].split(",")[:SERVERS]
    environment = {**run.environment, "REPLICA_URLS": ",".join(urls)}
    seconds = 0.5 if run.quick else SECONDS_OF_A_SCENE
    calls: dict[Scene, dict[str, int]] = {}
    times: dict[Scene, dict[str, float]] = {}
    for site, scenes in sites():
        with processes(who, site, environment) as running:
            for scene in scenes:
                run.say(f"  {scene.title}")
                for one in running.values():
                    one.enter(scene)
                time.sleep(0 if run.quick else SETTLE_SECONDS)
                calls[scene] = _count(scene, running)
                times[scene] = _time(scene, running, seconds)
    tables = [calls_table(calls), _times_table(times)]
    if not run.quick:
        report.insert(PAGE, "the cost of a page", _in_words(calls, times))
        report.insert(PAGE, "the cost of a request", "\n".join(map(report.table, tables)))
    return tables


def _in_words(calls: Mapping[Scene, Mapping[str, int]], times: Mapping[Scene, Mapping[str, float]]) -> str:
    page = next(scene for scene in SCENES if scene.path == "/page/")
    more = {key: calls[page][key] / calls[page][NONE] * 100 - 100 for key in (WINDOW, CAUSAL, PEER)}
    longer = {key: times[page][key] / times[page][NONE] * 100 for key in (WINDOW, CAUSAL, PEER)}
    return (
        f"A {page.title} makes {more[WINDOW]:.0f} % more calls at `window` and {more[CAUSAL]:.0f} % more at"
        f" `causal` ({more[PEER]:.0f} % with\ndjango-multidb-router), and takes {longer[WINDOW]:.1f} % and"
        f" {longer[CAUSAL]:.1f} % longer ({longer[PEER]:.1f} %)."
    )


def _count(scene: Scene, running: Mapping[str, Process]) -> dict[str, int]:
    return {key: one.ask("calls", method=scene.method, path=scene.path) for key, one in running.items()}


def _time(scene: Scene, running: Mapping[str, Process], seconds: float) -> dict[str, float]:
    """Return the microseconds of a request without a router, and those that each contestant adds."""
    turns: dict[str, list[float]] = {key: [] for key in running}
    order = list(running)
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(turns[NONE]) < 2:
        for key in order:
            if scene.wrote_seconds_ago == 0.0:
                running[key].enter(scene)
            took = running[key].ask("seconds", method=scene.method, path=scene.path, requests=scene.requests)
            turns[key].append(took * 1e6)
        order.reverse()
    plain = turns.pop(NONE)
    added = {
        key: median(took - none for took, none in zip(values, plain, strict=True))
        for key, values in turns.items()
    }
    return {NONE: median(plain), **added}


def calls_table(calls: Mapping[Scene, Mapping[str, int]]) -> Table:
    """Return the table of calls: those of a request without a router, and what each contestant adds."""
    who = list(next(iter(calls.values())))
    return Table(
        key="request-calls",
        title="Calls of a request",
        text=(
            "Calls of functions in one request, Python's and C's, which repeat exactly: all of them without a"
            " router, and what each contestant adds. Each aim is for this package at `window` and `causal`."
        ),
        columns={"scene": "", **{key: CONTESTANTS[key].title for key in who}, "aim": "aim"},
        formats={**dict.fromkeys(who, "{:+,d}"), NONE: "{:,d}"},
        rows=[
            {
                "scene": scene.title,
                **{key: count - (0 if key == NONE else counts[NONE]) for key, count in counts.items()},
                "aim": scene.aim,
            }
            for scene, counts in calls.items()
        ],
    )


def _times_table(times: Mapping[Scene, Mapping[str, float]]) -> Table:
    who = list(next(iter(times.values())))
    ratios = {f"{key} ratio": key for key in (WINDOW, CAUSAL) if PEER in who}
    return Table(
        key="request-times",
        title="Time of a request",
        text=(
            "Microseconds of a request without a router, and what each contestant adds: the median of the"
            " differences of neighbouring turns. The last columns have this package's as a multiple of"
            " django-multidb-router's, where that adds at least 1 %: a client that has written reads the"
            " primary there, over one connection less."
        ),
        columns={
            "scene": "",
            **{key: f"{CONTESTANTS[key].title}, µs" for key in who},
            **{key: f"{CONTESTANTS[level].title}: ratio" for key, level in ratios.items()},
        },
        formats={**dict.fromkeys(who, "{:+,.0f}"), NONE: "{:,.0f}", **dict.fromkeys(ratios, "{:.2f}")},
        rows=[
            {
                "scene": scene.title,
                **values,
                **{
                    key: values[level] / values[PEER]
                    for key, level in ratios.items()
                    if values[PEER] >= 0.01 * values[NONE]
                },
            }
            for scene, values in times.items()
        ],
    )


def count_on_sqlite(who: Sequence[str]) -> dict[Scene, dict[str, int]]:
    """Return the calls of every scene where no server is at hand: SQLite, with positions that never move."""
    with tempfile.TemporaryDirectory(prefix="rwrouter-bench-") as name:
        folder = Path(name)
        files = [folder / f"{number}.sqlite3" for number in range(SERVERS + 1)]
        primary, *replicas = (f"sqlite:///{file}" for file in files)
        environment = {
            "DATABASE_URL": primary,
            "REPLICA_URLS": ",".join(replicas),
            "BENCH_SERVERS": str(SERVERS),
        }
        fill(environment)
        for replica in files[1:]:
            shutil.copy(files[0], replica)
        calls: dict[Scene, dict[str, int]] = {}
        for site, scenes in sites():
            with processes(who, site, environment) as running:
                for one in running.values():
                    one.enter(scenes[0])
                _count(scenes[0], running)
                time.sleep(PROBED_SECONDS)
                for scene in scenes:
                    for one in running.values():
                        one.enter(scene)
                    calls[scene] = _count(scene, running)
        return calls
