"""Runs every suite of tests, each in a pytest of its own, and closes with a summary.

    tools/run_tests.py [SUITE...] [-- PYTEST ARGUMENT...]

A suite has settings of its own (Django's can be set up only once in a process), and one that
hangs or crashes leaves the others alone. Exit status: 0 when every suite ran tests and passed.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Folders of tests that share their settings."""

    name: str
    folders: tuple[str, ...]
    settings: str = "tests.settings"


SUITES = (
    Suite(name="quick", folders=("tests/unit", "tests/sqlite")),
    Suite(name="tooling", folders=("tests/tooling",)),
    Suite(name="mariadb", folders=("tests/servers/mariadb",), settings="tests.servers.mariadb.settings"),
    Suite(name="faults", folders=("tests/servers/faults",), settings="tests.servers.faults.settings"),
    Suite(name="contrib", folders=("tests/servers/contrib",), settings="tests.servers.contrib.settings"),
    *(
        Suite(
            name=f"products-{product}",
            folders=("tests/servers/products",),
            settings=f"tests.servers.products.{product}",
        )
        for product in ("mariadb", "mysql", "postgresql")
    ),
    Suite(name="browser", folders=("tests/browser",)),
    Suite(name="packaging", folders=("tests/packaging",)),
)

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


def run(suite: Suite, more_arguments: list[str], report: Path) -> Outcome:
    """Run one suite in a process of its own, its output going where ours goes."""
    print(f"\n=== {suite.name}: {' '.join(suite.folders)}", flush=True)
    started = time.monotonic()
    command = [
        *(sys.executable, "-m", "pytest"),
        *(f"--ds={suite.settings}", f"--junit-xml={report}"),
        *more_arguments,
        *suite.folders,
    ]
    # A settings module of the caller's has no business here.
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    passed, failed, skipped = counts(report)
    return Outcome(
        suite=suite,
        status=status,
        seconds=time.monotonic() - started,
        passed=passed,
        failed=failed,
        skipped=skipped,
    )


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


def summarize(outcomes: list[Outcome]) -> None:
    """Print a line for each suite, and below it why tests of it were skipped."""
    print("\n=== Summary")
    for outcome in outcomes:
        verdict = VERDICTS.get(outcome.status, f"FAILED (pytest exit {outcome.status})")
        print(
            f"{outcome.suite.name:19} {outcome.seconds:6.1f} s  {outcome.passed:5} passed"
            f"  {outcome.failed:3} failed  {len(outcome.skipped):3} skipped  {verdict}"
        )
        for reason in sorted(set(outcome.skipped)):
            print(f"{'':13}SKIPPED x{outcome.skipped.count(reason)}: {reason}")
    passed, failed, skipped = (
        sum(numbers)
        for numbers in zip(*((o.passed, o.failed, len(o.skipped)) for o in outcomes), strict=True)
    )
    # Alone on a line, for those who read the end of a log.
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)


def main() -> int:
    """Run the suites named on the command line, or all."""
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__ or "")[0])
    names = [suite.name for suite in SUITES]
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(names)}")
    own, _, more_arguments = split_at_dashes(sys.argv[1:])
    arguments = parser.parse_args(own)
    if unknown := set(arguments.suites) - set(names):
        parser.error(f"no suite is named {', '.join(sorted(unknown))}; there are {names}")
    chosen = [suite for suite in SUITES if not arguments.suites or suite.name in arguments.suites]

    with TemporaryDirectory(prefix="rwrouter-tests-") as folder:
        outcomes = [run(suite, more_arguments, Path(folder) / f"{suite.name}.xml") for suite in chosen]
    summarize(outcomes)
    return 0 if all(outcome.status == 0 for outcome in outcomes) else 1


def split_at_dashes(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    """Return what stands before "--", and what after it goes to pytest."""
    if "--" not in arguments:
        return arguments, "", []
    place = arguments.index("--")
    return arguments[:place], "--", arguments[place + 1 :]


if __name__ == "__main__":
    sys.exit(main())
