"""Runs suites of tests side by side, each in a pytest of its own, and closes with a summary.

    tools/run_tests.py [--product PRODUCT] [--jobs N] [SUITE or GROUP...] [-- PYTEST ARGUMENT...]

Django can be set up only once in a process, so suites with other settings need other processes; and a suite
that hangs or crashes leaves the others alone. What a suite prints is shown whole when it ends. Exit status: 0
when every suite ran tests and passed.
"""

import argparse
import os
import re
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
PRODUCTS = ("mariadb", "mysql", "postgresql")
JOBS = 3
"""How many suites run side by side, on two processors: much of the time they wait for servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Folders of tests that share their settings."""

    name: str
    group: str
    """What `make test-GROUP` runs; the group "quick" is `make test`."""
    folders: tuple[str, ...]
    settings: str = "tests.settings"
    products: tuple[str, ...] = ()
    """Whose servers its tests start."""
    arguments: tuple[str, ...] = ()
    """More arguments for pytest."""
    jobs: int = 1
    """How many of ``--jobs`` it counts for: two where it promises seconds, and all where it keeps all
    processors busy itself."""


SUITES = (
    Suite(
        name="quick",
        group="quick",
        folders=("tests/unit", "tests/sqlite", "tests/tooling", "tests/typing"),
        arguments=("--numprocesses=auto", "--ignore=tests/tooling/launcher"),
        jobs=JOBS,
    ),
    Suite(
        name="faults",
        group="servers",
        folders=("tests/servers/faults",),
        products=("mariadb", "postgresql"),
        jobs=2,
    ),
    # These fill the time of "faults", with which one at a time runs.
    Suite(
        name="contrib",
        group="servers",
        folders=("tests/servers/contrib",),
        settings="tests.servers.contrib.settings",
        products=("mariadb",),
    ),
    Suite(name="packaging", group="packaging", folders=("tests/packaging",)),
    Suite(
        name="week",
        group="week",
        folders=("tests/servers/products/week_of_statistics.py",),
        settings="tests.servers.products.settings",
        products=("mariadb",),
    ),
    # The longest first, so that the last to end is a short one.
    Suite(
        name="mariadb",
        group="servers",
        folders=("tests/servers/mariadb",),
        settings="tests.servers.mariadb.settings",
        products=("mariadb",),
    ),
    *(
        Suite(
            name=f"products-{product}",
            group="servers",
            folders=("tests/servers/products",),
            settings="tests.servers.products.settings",
            products=(product,),
        )
        for product in reversed(PRODUCTS)
    ),
    Suite(
        name="setups",
        group="servers",
        folders=("tests/servers/setups",),
        settings="tests.servers.products.settings",
        products=("mariadb", "postgresql"),
    ),
    Suite(name="launcher", group="servers", folders=("tests/tooling/launcher",), products=PRODUCTS),
    Suite(name="browser", group="browser", folders=("tests/browser",)),
)
GROUPS = tuple(dict.fromkeys(suite.group for suite in SUITES))

VERDICTS = {0: "ok", 1: "FAILED", 5: "FAILED: no test ran"}
"""What pytest's usual exit statuses mean here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a suite: pytest's exit status, its counts, and why tests were skipped."""

    suite: Suite
    status: int
    seconds: float
    passed: int
    failed: int
    skipped: tuple[str, ...]


class Runner:
    """Runs suites, several at a time, and prints what each of them printed when it ends."""

    def __init__(
        self, folder: Path, jobs: int, products: Sequence[str], more_arguments: Sequence[str]
    ) -> None:
        self._folder = folder
        self._jobs = jobs
        self._products = products
        self._more_arguments = more_arguments
        self._terminal = threading.Lock()
        self._changed = threading.Condition()
        self._running: list[Suite] = []
        self._only_one = False

    def run(self, suites: Sequence[Suite]) -> list[Outcome]:
        """Run these suites, in their order as far as there is room."""
        outcomes: list[Outcome] = []
        waiting = list(suites)
        self._only_one = len(suites) == 1
        workers = [threading.Thread(target=self._work, args=(waiting, outcomes)) for _ in range(self._jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sorted(outcomes, key=lambda outcome: suites.index(outcome.suite))

    def _work(self, waiting: list[Suite], outcomes: list[Outcome]) -> None:
        while suite := self._take(waiting):
            try:
                outcomes.append(self._run(suite))
            finally:
                with self._changed:
                    self._running.remove(suite)
                    self._changed.notify_all()

    def _take(self, waiting: list[Suite]) -> Suite | None:
        """Return the next suite that may run now; wait until there is one, or return None if none is left."""
        with self._changed:
            while waiting:
                room = self._jobs - sum(suite.jobs for suite in self._running)
                for suite in waiting:
                    if suite.jobs <= room or not self._running:
                        waiting.remove(suite)
                        self._running.append(suite)
                        return suite
                self._changed.wait()
        return None

    def _run(self, suite: Suite) -> Outcome:
        self._print(f"--- {suite.name} begins")
        report, log = self._folder / f"{suite.name}.xml", self._folder / f"{suite.name}.log"
        started = time.monotonic()
        command = [
            *(sys.executable, "-m", "pytest"),
            *(f"--ds={suite.settings}", f"--junit-xml={report}"),
            *suite.arguments,
            *(f"--product={name}" for name in suite.products if name in self._products),
            *self._more_arguments,
            *suite.folders,
        ]
        # A settings module of the caller's has no business here.
        environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        with log.open("wb") as file:
            # Who waits for a single suite may watch it.
            output = None if self._only_one else file
            status = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False
            ).returncode
        passed, failed, skipped = counts(report)
        outcome = Outcome(
            suite=suite,
            status=status,
            seconds=time.monotonic() - started,
            passed=passed,
            failed=failed,
            skipped=skipped,
        )
        title = f"=== {suite.name}: {' '.join(suite.folders)}: {verdict(outcome)}"
        self._print(f"\n{title}\n{log.read_text(errors='replace')}")
        return outcome

    def _print(self, text: str) -> None:
        with self._terminal:
            print(text, flush=True)


def counts(report: Path) -> tuple[int, int, tuple[str, ...]]:
    """Read how many tests passed and failed, and the reasons of those skipped, from the report."""
    if not report.exists():
        return 0, 0, ()
    passed = failed = 0
    skipped: list[str] = []
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314  pytest wrote it
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif (skip := case.find("skipped")) is not None:
            if skip.get("type") != "pytest.xfail":
                skipped.append(reason_of(skip))
        else:
            passed += 1
    return passed, failed, tuple(skipped)


def reason_of(skip: ET.Element) -> str:
    """Return why a test, or a whole module of them, was skipped."""
    if skip.get("message") == "collection skipped":
        # Then the text has the tuple (path, line, "Skipped: reason").
        return (skip.text or "").partition("Skipped: ")[2].rstrip("')\"")
    return skip.get("message", "no reason given")


def verdict(outcome: Outcome) -> str:
    """Return in words what pytest's exit status says."""
    return VERDICTS.get(outcome.status, f"FAILED (pytest exit {outcome.status})")


def summarize(outcomes: Sequence[Outcome]) -> str:
    """Return a line for each suite, below it why tests of it were skipped, and the sum on the last line."""
    lines = ["", "=== Summary"]
    for outcome in outcomes:
        lines.append(
            f"{outcome.suite.name:19} {outcome.seconds:6.1f} s  {outcome.passed:5} passed"
            f"  {outcome.failed:3} failed  {len(outcome.skipped):3} skipped  {verdict(outcome)}"
        )
        lines += [
            f"{'':22}SKIPPED x{outcome.skipped.count(reason)}: {reason}"
            for reason in sorted(set(outcome.skipped))
        ]
    # Alone on a line, for those who read the end of a log.
    return "\n".join([*lines, "", total(outcomes)])


def total(outcomes: Sequence[Outcome]) -> str:
    """Return "N passed, N failed, N skipped"."""
    passed, failed = sum(o.passed for o in outcomes), sum(o.failed for o in outcomes)
    return f"{passed} passed, {failed} failed, {sum(len(o.skipped) for o in outcomes)} skipped"


def chosen(names: Sequence[str], products: Sequence[str]) -> list[Suite]:
    """Return the suites of these names and groups (without names: all) that need no other products."""
    return [
        suite
        for suite in SUITES
        if (not names or {suite.name, suite.group} & set(names))
        and (not suite.products or set(suite.products) & set(products))
    ]


def main() -> int:
    """Run the suites that the command line names, or all."""
    own, more_arguments = split_at_dashes(sys.argv[1:])
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__ or "")[0])
    names = {suite.name for suite in SUITES} | set(GROUPS)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(sorted(names))}")
    parser.add_argument(
        "--product", action="append", choices=PRODUCTS, help="of the servers' tests, this one's"
    )
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"how many suites run side by side ({JOBS})")
    arguments = parser.parse_args(own)
    if unknown := set(arguments.suites) - names:
        parser.error(f"no suite is named {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}")
    products = arguments.product or PRODUCTS
    suites = chosen(arguments.suites, products)
    with TemporaryDirectory(prefix="rwrouter-tests-") as folder:
        outcomes = Runner(Path(folder), arguments.jobs, products, more_arguments).run(suites)
    print(summarize(outcomes), flush=True)
    if totals := os.environ.get("TEST_TOTALS"):
        # For who runs this several times, and wants the sum: `.ci/run`.
        with Path(totals).open("a") as file:
            print(total(outcomes), file=file)
    return 0 if all(outcome.status == 0 for outcome in outcomes) else 1


def split_at_dashes(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before "--", and what after it goes to pytest."""
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


if __name__ == "__main__":
    sys.exit(main())
