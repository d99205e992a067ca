"""The thread that writes what a process has counted, now and then and at the end of the process."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.db import Error

from django_rwrouter import process
from django_rwrouter.conf import get_settings, plugins
from django_rwrouter.databases.base import Busy
from django_rwrouter.scope.context import silenced
from django_rwrouter.stats.backends import BACKENDS, StatisticsBackend
from django_rwrouter.stats.counters import Counters, Row
from django_rwrouter.stats.sums import ServerEntry

logger: Final = logging.getLogger("django_rwrouter")
EXIT_PATIENCE: Final = 5.0
"""Seconds that an ending process waits for a flush that is under way."""
RETRY_SECONDS: Final = 0.1
"""Seconds after which a flush that was put off is tried again."""
PUT_OFF_QUIETLY: Final = 600
"""How often in a row a flush may be put off before that is called a failure."""


class Flusher:
    """Writes the counts of this process, now and then."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        counters.begun = self.see_off
        self.describe: Callable[[], Iterable[ServerEntry]] | None = None
        self.renew()

    def renew(self) -> None:
        """Be as in a new process; what a forked child does.

        Nothing of before is touched: the locks may be held for ever, by threads that are not there.
        """
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self.writing = threading.Lock()
        """Held during a flush."""
        self._backend: StatisticsBackend | None = None
        self._failing = False
        self._times_put_off = 0
        self._seen_off = False
        self.started = False

    def forget(self) -> None:
        """Let the thread end, and have the next :meth:`start` read the settings again."""
        self._stop.set()
        self.renew()
        self._counters.enabled = True

    def start(self) -> None:
        """Start the thread and the hooks at the process's end, where statistics are wanted at all."""
        with self._starting:
            if self.started or process.in_test_environment():
                return
            settings = get_settings()
            if settings.inert or settings.stats.backend == "off":
                self._counters.enabled = False
            else:
                self._start_thread()
                process.call_at_exit(self._at_exit)
            self.started = True

    def see_off(self) -> None:
        """Have what was counted written when the process ends, though it serves nothing: a script, a shell.

        Called where counting begins. Not for `migrate` and its like, whose reads are no traffic of the
        site's; and not in Django's test environment, also if that is torn down before the
        end: what a test run counted is no business of the database in the settings.
        """
        self._counters.has_origins = get_settings().stats.top > 0
        if not (self.started or self._seen_off):
            self._seen_off = True
            if process.is_setting_up():
                self._counters.enabled = False
            elif not process.in_test_environment():
                process.call_at_exit(self._at_exit)

    def _start_thread(self) -> None:
        name = "rwrouter-statistics"
        thread = threading.Thread(target=self._run, args=(self._stop,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The system allows no more threads, or the interpreter is going; no reason to fail a request.
            logger.warning("The read/write routing statistics are written at the end only: %s.", error)

    def flush(self, patience: float = -1, *, ending: bool = False) -> None:
        """Write what has changed; wait at most ``patience`` seconds for a flush under way (-1: for ever)."""
        writing = self.writing  # A change of the settings puts another in its place.
        if not writing.acquire(timeout=patience):
            return
        pending: list[Row] = []
        batch: list[Row] = []
        try:
            self._note_servers()
            # The second time those that are final, now that they are written. At the end once more, if
            # anybody has counted meanwhile.
            for _turn in range(4 if ending else 2):
                pending = self._counters.take(ending=ending)
                while pending:
                    batch = self._next_batch(pending)
                    del pending[: len(batch)]
                    self._write(batch)
                    batch = []
        except Exception as error:  # noqa: BLE001  (whatever a backend raises: a flush never harms)
            if isinstance(error, Busy) and self._times_put_off < PUT_OFF_QUIETLY:
                self._times_put_off += 1
            else:
                self._report(error, ending=ending)
        else:
            self._times_put_off = 0
        finally:
            self._counters.failed(batch, unsent=pending)
            writing.release()

    def _write(self, batch: Sequence[Row]) -> None:
        with silenced():
            self._get_backend().write(batch[0].process, batch)
        if self._failing:
            self._failing = False
            logger.info("The read/write routing statistics are written again.")

    def _note_servers(self) -> None:
        if self.describe is None:
            return
        try:
            if servers := [*self.describe()]:  # Nothing known is nothing to write.
                self._counters.note_servers(servers)
        except Exception:
            logger.exception("The state of the servers is missing from the statistics.")

    def _next_batch(self, pending: Sequence[Row]) -> list[Row]:
        # After a failure one row is tried alone: so while the database is away, whatever the
        # failures are like, the rest has certainly not been written and can still be put together.
        first = pending[0]
        if self._failing:
            return [first]
        return list(takewhile(lambda row: (row.process, row.final) == (first.process, first.final), pending))

    def _report(self, error: Exception, *, ending: bool) -> None:
        """Log a failure: loudly for the first of several in a row only."""
        # A command that never served anybody, such as the first `migrate`, has no reason to complain.
        is_quiet = self._failing or (ending and not self.started)
        level = logging.DEBUG if is_quiet else logging.WARNING
        self._failing = True
        what = str(error) if isinstance(error, ImproperlyConfigured) else repr(error)
        if isinstance(error, Error):  # A driver's text may name host and user; its code says enough.
            code = error.args[0] if error.args and isinstance(error.args[0], int) else ""
            what = f"{type(error).__name__} {code}".rstrip()
        logger.log(
            level,
            "The read/write routing statistics could not be written: %s. The counts are kept, and"
            " written as soon as that is possible.",
            what,
            exc_info=level == logging.DEBUG,
        )

    def _get_backend(self) -> StatisticsBackend:
        if self._backend is None:
            self._backend = plugins.make("STATS", get_settings().stats.backend, BACKENDS, "write")
        return self._backend

    def _run(self, stop: threading.Event) -> None:
        seconds = get_settings().stats.flush_seconds
        # Jittered, so that processes started together do not all write at the same moment.
        wait = random.uniform(0, seconds)
        while not stop.wait(wait):
            self.flush()
            wait = (RETRY_SECONDS if self._is_put_off() else seconds) * random.uniform(0.9, 1.1)

    def _is_put_off(self) -> bool:
        return 0 < self._times_put_off < PUT_OFF_QUIETLY

    def _at_exit(self) -> None:
        self._stop.set()
        settings = get_settings()
        if not settings.inert and settings.stats.backend != "off":
            until = time.monotonic() + EXIT_PATIENCE
            self.flush(EXIT_PATIENCE, ending=True)
            while self._is_put_off() and time.monotonic() < until:
                time.sleep(RETRY_SECONDS)
                self.flush(EXIT_PATIENCE, ending=True)
