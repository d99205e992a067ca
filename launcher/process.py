"""One run of a server program, from start to end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.watchdog import Watchdog, children, kill_family, proc_stat

LOG_LINES = 25
"""How much of a server's log an error shows."""


class ServerError(Exception):
    """A server does not start, has ended, or refused a statement."""


@dataclass(frozen=True, kw_only=True)
class SystemUser:
    """An account of this machine, by its numbers."""

    uid: int
    gid: int


class ServerProcess:
    """A server program that was started just now, and whose output goes to a log file.

    It gets a session of its own, so that Ctrl-C reaches the caller, who then stops it. What is
    done to it is done to its child processes as well. Only root can run it as another `user`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        watchdog: Watchdog,
        user: SystemUser | None = None,
    ) -> None:
        self._watchdog = watchdog
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                cwd=log.parent,  # another user may have no access to ours
                start_new_session=True,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
        watchdog.guard(self.pid)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def is_running(self) -> bool:
        """Whether it lives: a zombie does not, a frozen process does."""
        if self._popen.poll() is not None:
            return False
        # The main thread is a zombie while other threads of a killed process are still ending.
        return proc_stat(self.pid)[:1] not in (["Z"], ["X"])

    def log(self) -> str:
        """What it has written since it started."""
        with self._log.open("rb") as lines:
            lines.seek(self._log_start)
            return lines.read().decode(errors="replace")

    def log_tail(self) -> str:
        """The last lines of that, for an error message."""
        return "\n".join(self.log().splitlines()[-LOG_LINES:])

    def stop(self, timeout: float = 20.0, *, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and kill it if that takes longer than `timeout` seconds."""
        if self._popen.poll() is None:
            self._popen.send_signal(with_signal)
            self._continue()  # frozen, it would not hear the request
            try:
                self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                kill_family([self.pid])
        self._ended()

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        if self._popen.poll() is None:
            kill_family([self.pid])
        self._ended()

    def freeze(self) -> None:
        """Let it hang (SIGSTOP): connections stay open and nobody answers."""
        self._check_running(signal.SIGSTOP)
        self._popen.send_signal(signal.SIGSTOP)
        # Returns when the last thread has stopped; the exit status is left for Popen.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        stopped = children(self.pid)
        _send(signal.SIGSTOP, stopped)
        while any(proc_stat(pid)[:1] not in ([], ["T"], ["Z"], ["X"]) for pid in stopped):
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._check_running(signal.SIGCONT)
        self._continue()

    def _continue(self) -> None:
        _send(signal.SIGCONT, children(self.pid))
        self._popen.send_signal(signal.SIGCONT)

    def _check_running(self, number: signal.Signals) -> None:
        if not self.is_running():
            raise ServerError(f"Process {self.pid} has ended: {number.name} has nobody to go to.")

    def _ended(self) -> None:
        self._popen.wait()
        self._watchdog.forget(self.pid)


def _send(number: signal.Signals, pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
