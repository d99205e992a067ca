"""Disturbs the replication of a cluster while a load test runs: pauses, delays, and in between nothing."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any

DELAY_SECONDS = 1
"""Servers are delayed by whole seconds."""
DELAYED_SECONDS = (0.5, 1.5)
"""How long a replica stays delayed: from, to."""


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


class Disturbance:
    """Pauses, delays and resumes replicas at random inside the block, each for itself.

    All of them are well again at the end. An error of a server is raised there, too: a test whose
    replicas were never disturbed proves nothing.
    """

    def __init__(self, cluster: Any, intensity: Intensity = ROUGH, seed: int = 0) -> None:
        self.done: Counter[str] = Counter()
        """How often each thing was done."""
        self._cluster = cluster
        self._intensity = intensity
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(
                target=self._run, args=(replica, random.Random(seed + number)), name=f"disturb-{number}"
            )
            for number, replica in enumerate(cluster.replicas)
        ]

    def __enter__(self) -> Disturbance:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors and error is None:
            raise self._errors[0]

    def _run(self, replica: Any, draw: random.Random) -> None:
        longest = self._intensity.longest_pause
        try:
            while not self._stop.is_set():
                what = draw.choices(["left alone", "paused", "delayed"], self._intensity.weights)[0]
                if what == "paused":
                    self._cluster.pause(replica)
                    self._stop.wait(draw.uniform(0, longest))
                    self._cluster.resume(replica)
                elif what == "delayed":
                    self._cluster.delay(replica, DELAY_SECONDS)
                    self._stop.wait(draw.uniform(*DELAYED_SECONDS))
                    self._cluster.delay(replica, 0)
                else:
                    self._stop.wait(draw.uniform(0, longest))
                self.done[what] += 1
        except BaseException as error:  # noqa: BLE001  (raised where the block ends)
            self._errors.append(error)
