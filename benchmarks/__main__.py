"""Runs the benchmarks: all of them, or those that are named.

    python -m benchmarks                     all, in less than 30 minutes
    python -m benchmarks decision request    some
    python -m benchmarks --quick             all, as short as they can be: whether they still work
    python -m benchmarks --calls             what a request costs in calls, on SQLite, in less than a minute

The reports go to ``benchmarks/results/``, those of ``--quick`` to ``build/benchmarks/``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks import environment
from benchmarks.contestants import CONTESTANTS, OURS, PEERS

PARTS = ("decision", "request", "consistency", "faults", "growth")
LIMIT_SECONDS = 40 * 60
"""When a run is broken off, whatever it waits for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for. Returns the exit status: 1 if a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="only see that they run")
    parser.add_argument("--calls", action="store_true", help="only count the calls of a request, on SQLite")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the reports go")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}: the parts are {', '.join(PARTS)}")
    try:
        environment.enter()
    except environment.PreparationError as error:
        print(f"What is compared cannot be installed: {error}", file=sys.stderr)
        return 1
    if options.calls:
        return _print_calls()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _break_off)
    signal.alarm(LIMIT_SECONDS)
    folder = options.output or environment.ROOT / (
        "build/benchmarks" if options.quick else "benchmarks/results"
    )
    return _run(options.parts or PARTS, quick=options.quick, folder=folder)


def _print_calls() -> int:
    from benchmarks import report, request

    print(report.table(request.calls_table(request.count_on_sqlite(request.WHO))))
    return 0


def _run(parts: Sequence[str], *, quick: bool, folder: Path) -> int:
    # Only in the environment is all of it installed.
    from benchmarks import machine, report
    from benchmarks.parts import Run
    from benchmarks.prepare import prepared_cluster

    started, failed = time.monotonic(), []
    took: dict[str, float] = {}
    with prepared_cluster() as (cluster, where):
        verdicts = environment.judge(where)
        for key, verdict in verdicts.items():
            if CONTESTANTS[key].requirement and (verdict.router or verdict.middleware):
                print(
                    f"{key}: router: {verdict.router or 'works'}; middleware: {verdict.middleware or 'works'}"
                )
            elif verdict.router and key.startswith(OURS):
                raise SystemExit(f"{key} does not work: {verdict.router}")
        run = Run(cluster=cluster, environment=where, verdicts=verdicts, quick=quick, say=_say)
        about = {
            **machine.describe(cluster),
            "peers": {each.key: verdicts[each.key].version for each in PEERS if verdicts[each.key].version},
            "absent": {
                each.key: f"router: {verdicts[each.key].router or 'works'}; middleware:"
                f" {verdicts[each.key].middleware or 'works'}"
                for each in PEERS
                if verdicts[each.key].router or verdicts[each.key].middleware
            },
            "command": machine.command(),
        }
        took["preparation"] = time.monotonic() - started
        for part in parts:
            began = time.monotonic()
            print(f"== {part} ({began - started:.0f} s)", flush=True)
            try:
                tables = importlib.import_module(f"benchmarks.{part}").measure(run)
            except Exception:  # noqa: BLE001  (the other parts are worth having)
                traceback.print_exc()
                failed.append(part)
            else:
                report.save(folder, part, tables, about=about)
            took[part] = time.monotonic() - began
    text = folder / report.MARKDOWN
    if text.is_file():
        print(text.read_text(encoding="utf-8"))
    print(*(f"{part:12} {seconds:5.0f} s" for part, seconds in took.items()), sep="\n")
    print(f"{'all':12} {time.monotonic() - started:5.0f} s; the report: {os.path.relpath(text)}", flush=True)
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _say(text: str) -> None:
    print(text, flush=True)


def _break_off(number: int, frame: FrameType | None) -> None:
    raise SystemExit(f"Broken off by {signal.Signals(number).name}.")


if __name__ == "__main__":
    sys.exit(main())
