"""Timing many contestants fairly on a machine that does other things, too: in rounds, by turns.

Each turn is a process of its own, by pyperf, and counts by its quietest measurement. The rounds spread each
contestant's turns over the whole time, so that all of them find quiet moments.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyperf

from benchmarks.contestants import CONTESTANTS
from benchmarks.environment import ROOT, worker_environment

WORKERS = ROOT / "benchmarks" / "workers"
TURN_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is timed in turns."""

    name: str
    contestant: str
    scene: str
    settings: str = "{}"
    """JSON for ``RWROUTER``."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is timed."""

    rounds: int
    loops: int
    values: int = 5


def take_turns(
    worker: str,
    jobs: Sequence[Job],
    effort: Effort,
    environment: dict[str, str],
    report: Callable[[str], object] = print,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the seconds of each job, one number for each round, and the errors of those that failed."""
    seconds: dict[str, list[float]] = {}
    errors: dict[str, str] = {}
    for number in range(effort.rounds):
        report(f"  round {number + 1} of {effort.rounds}")
        for job in jobs:
            if job.name in errors:
                continue
            try:
                seconds.setdefault(job.name, []).append(_one_turn(worker, job, effort, environment))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                errors[job.name] = str(error)
                seconds.pop(job.name, None)
    return seconds, errors


def _one_turn(worker: str, job: Job, effort: Effort, environment: dict[str, str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "turn.json"
        result = subprocess.run(
            [
                sys.executable,
                str(WORKERS / f"{worker}.py"),
                # The turn is the process: pyperf need not start another one for it.
                "--worker",
                "--quiet",
                "--warmups=1",
                f"--values={effort.values}",
                f"--loops={effort.loops}",
                f"--output={output}",
            ],
            env=worker_environment(
                environment,
                CONTESTANTS[job.contestant],
                BENCH_NAME=job.name,
                BENCH_SCENE=job.scene,
                BENCH_SETTINGS=job.settings,
            ),
            capture_output=True,
            text=True,
            timeout=TURN_SECONDS,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(_what_went_wrong(result.stderr))
        # The quietest value: what else runs on the machine only ever adds.
        return float(min(pyperf.Benchmark.load(str(output)).get_values()))


def _what_went_wrong(text: str) -> str:
    """Return the worker's own error, which stands before pyperf's about the worker."""
    errors = [line for line in text.splitlines() if line and not line.startswith((" ", "Traceback", "["))]
    return errors[0] if errors else "it ended without a word"
