"""A process that counts, writes and merges, in a time that runs fast. Run by test_statistics.py.

Arguments: the database's settings as JSON, what to do, the begin of its time, and how fast that runs. It
prints a line for each hit that is certainly written.
"""

import json
import logging
import signal
import sys
import time

from django.conf import settings

database, work, begin, speed = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
real = time.time
time.time = lambda: begin + (real() - begin) * speed

if isolation := database.pop("isolation", None):
    if "postgresql" in database["ENGINE"]:
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        isolation = IsolationLevel[isolation.upper().replace(" ", "_")]
    database["OPTIONS"]["isolation_level"] = isolation
settings.configure(
    INSTALLED_APPS=["django_rwrouter"],
    DATABASES={"default": database, "replica1": database},
    DATABASE_ROUTERS=["django_rwrouter.router.ReadWriteRouter"],
    RWROUTER={"REPLICAS": ["replica1"], "STATS": {"FLUSH_SECONDS": 3600, "RETENTION_DAYS": 1000}},
)

import django  # noqa: E402

django.setup()

from django_rwrouter import stats  # noqa: E402
from django_rwrouter.stats import (  # noqa: E402
    backends,
    recorder,
    rollup,
)
from django_rwrouter.stats.table import RoutingStatisticsQuerySet  # noqa: E402


def tell(record):
    """Tell of everything that went wrong, except that two merged at once."""
    print("merging failed" if "merged" in record.getMessage() else record.getMessage(), flush=True)
    return True


logger = logging.getLogger("django_rwrouter")
logger.addHandler(logging.NullHandler())
logger.setLevel(logging.DEBUG)
logger.addFilter(tell)


def always():
    """Look for something to merge with each write."""
    backends.ROLL_UP_SECONDS = 0


def count_until_told_to_stop():
    always()
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    while not stopped:
        stats.count_event("hit")
        stats.flush()
        print("hit", flush=True)
    recorder._flusher._at_exit()


def stop_amid_merging():
    """Have the lock, and everything but the last statement done; then hang."""
    delete = RoutingStatisticsQuerySet.delete

    def hang(self):
        print("amid", flush=True)
        signal.pause()
        return delete(self)

    RoutingStatisticsQuerySet.delete = hang
    always()
    rollup.EVERY = 0
    stats.count_event("noise")
    stats.flush()


{"count": count_until_told_to_stop, "stop amid": stop_amid_merging}[work]()
