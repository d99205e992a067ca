"""Ends servers and removes their folder when the process that started them is gone.

`atexit` does not run after SIGKILL, nor after a SIGTERM that nobody handles, and Linux'
parent-death signal fires when the *thread* that started a server ends. So a small process of its
own holds the reading end of a pipe: however we end, the kernel closes our end, and the watchdog
does what is left to do. Run as a script, by path: it imports nothing but the standard library.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path


def proc_stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty if there is no such process (or no /proc).

    The first field is the state (R, S, T, Z, ...), the twentieth the start time, in clock ticks
    since boot: proc(5) counts them as the 3rd and the 22nd.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name of the program, in parentheses, may itself hold spaces and parentheses.
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> str:
    """Tells a process from a later one that was given the same id."""
    return "".join(proc_stat(pid)[19:20])


def children(pid: int) -> list[int]:
    """Its child processes; none without /proc. PostgreSQL has one for each connection.

    Stop the process before: a running one may start another while we look.
    """
    try:
        names = [path.name for path in Path("/proc").iterdir()]
    except OSError:
        return []
    pids = [int(name) for name in names if name.isdigit()]
    return [child for child in pids if proc_stat(child)[1:2] == [str(pid)]]


def kill_family(pids: Collection[int], timeout: float = 10.0) -> None:
    """End processes and their children (SIGKILL); returns when they have ended, or after the timeout.

    One that is left as a zombie has ended. One that is not ours is left alone.
    """
    family: list[int] = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGSTOP)
        family += [pid, *children(pid)]
    for pid in family:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + timeout
    # Children of our children are nobody's to wait for: there is only the process table.
    while any(proc_stat(pid)[:1] not in ([], ["Z"], ["X"]) for pid in family):
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)


class Watchdog:
    """Our end of the pipe. A child that we fork keeps the pipe open until it ends as well.

    The watchdog inherits `descriptors`, and holds them open until its work is done.
    """

    def __init__(self, descriptors: Collection[int] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            cwd="/",
            start_new_session=True,  # a Ctrl-C on our terminal is not for it
        )

    @property
    def pid(self) -> int:
        """Process id of the watchdog."""
        return self._process.pid

    def guard(self, pid: int) -> None:
        """Kill the process when we are gone."""
        self._tell(f"guard {pid}")

    def forget(self, pid: int) -> None:
        """The process has ended; its id may be given to another."""
        self._tell(f"forget {pid}")

    def remove(self, folder: Path) -> None:
        """Delete the folder when we are gone, once the processes have ended."""
        self._tell(f"remove {folder}")

    def close(self) -> None:
        """Let it do its work now, and wait for it."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):  # somebody ended it: there is no help left
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


def main() -> None:
    """Collect orders until the pipe closes, then carry them out."""
    guarded: dict[int, str] = {}
    folders: list[str] = []
    for line in sys.stdin:
        order, _, argument = line.rstrip("\n").partition(" ")
        if order == "guard":
            guarded[int(argument)] = start_time(int(argument))
        elif order == "forget":
            guarded.pop(int(argument), None)
        elif order == "remove":
            folders.append(argument)
    left = [pid for pid, started in guarded.items() if start_time(pid) == started]
    kill_family(left)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
