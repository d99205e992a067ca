"""One run of a server program, from start to end."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from servers.watchdog import Watchdog, proc_stat

LOG_LINES = 25
"""How much of a server's log an error shows."""


class ServerError(Exception):
    """A server does not start, has ended, or refused a statement."""


class ServerProcess:
    """A server program that was started just now, and whose output goes to a log file.

    It gets a session of its own, so that Ctrl-C reaches the caller, who then stops it.
    """

    def __init__(self, command: Sequence[str], *, log: Path, watchdog: Watchdog) -> None:
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
                start_new_session=True,
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

    def stop(self, timeout: float = 20.0) -> None:
        """Ask it to end, and kill it if that takes longer than `timeout` seconds."""
        if self._popen.poll() is None:
            self._popen.terminate()
            self._popen.send_signal(signal.SIGCONT)  # frozen, it would not hear the request
            try:
                self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        self._ended()

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        self._popen.kill()
        self._ended()

    def freeze(self) -> None:
        """Let it hang (SIGSTOP): connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)
        # Returns when the last thread has stopped; the exit status is left for Popen.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if not self.is_running():
            raise ServerError(f"Process {self.pid} has ended: {number.name} has nobody to go to.")
        self._popen.send_signal(number)

    def _ended(self) -> None:
        self._popen.wait()
        self._watchdog.forget(self.pid)
