"""Recording when each replica has replayed what, from outside of everything that is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT
from proofs.oracle import Replay, Seen

STOP_SECONDS = 10
SETTLE_SECONDS = 0.2


class Recording:
    """What is recorded so far."""

    def __init__(self, file: Path, names: list[str]) -> None:
        self._file = file
        self._names = names

    def replays(self) -> dict[str, Replay]:
        """Return when each replica had replayed what."""
        time.sleep(SETTLE_SECONDS)  # The recorder writes a line as soon as it has seen something.
        seen: dict[str, list[Seen]] = {name: [] for name in self._names}
        for line in self._file.read_text(encoding="ascii").splitlines():
            name, at, position = line.split()
            seen[name].append(Seen(float(at), int(position)))
        return {name: Replay(each) for name, each in seen.items()}


@contextmanager
def recorded(cluster: Any, folder: Path) -> Iterator[Recording]:
    """Record inside the block, by a process of its own that asks each replica every millisecond or two."""
    names = [replica.name for replica in cluster.replicas]
    file = folder / "replayed"
    sockets = {replica.name: str(replica.socket) for replica in cluster.replicas}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.workers.recorder", str(file), json.dumps(sockets)],
        cwd=ROOT,
        stdin=subprocess.PIPE,  # Its end is the recorder's, however this process ends.
    )
    try:
        yield Recording(file, names)
        if process.poll() is not None:
            raise RuntimeError(f"The recorder ended with status {process.returncode}.")
    finally:
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
