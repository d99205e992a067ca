"""A process that counts, and ends in one of the ways that processes end. Run by test_stats_processes.py.

Arguments: how to end, the SQLite file with the table, and ``FLUSH_SECONDS``.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time

import django
from django.conf import settings


def set_up(database, flush_seconds):
    settings.configure(
        INSTALLED_APPS=["django_rwrouter"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "OPTIONS": {"timeout": 30},
            },
            "replica1": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{database}.replica"},
        },
        DATABASE_ROUTERS=["django_rwrouter.router.ReadWriteRouter"],
        RWROUTER={"REPLICAS": ["replica1"], "STATS": {"FLUSH_SECONDS": float(flush_seconds)}},
    )
    django.setup()


def count(times):
    """Do what a server process does: serve something, which counts."""
    from django_rwrouter import stats

    stats.start()
    for _ in range(times):
        stats.count_event("hit")


def child(arguments, times):
    if not settings.configured:  # Spawned, not forked.
        set_up(*arguments)
    count(times)


def migrate():
    from django.core.management import call_command

    from django_rwrouter import stats

    call_command("migrate", "django_rwrouter", verbosity=0)
    stats.reset()  # Of this nobody is to find anything.


def never_serve():
    """Count as a script does, or a command: without a request, a task or a scope."""
    from django_rwrouter import stats

    for _ in range(7):
        stats.count_event("hit")


def never_serve_but_test():
    """Be a test run, whose environment is torn down before the process ends."""
    from django.test.utils import setup_test_environment, teardown_test_environment

    setup_test_environment()
    never_serve()
    teardown_test_environment()


def end_by_itself():
    count(7)


def end_in_a_transaction():
    """Leave while the main thread's own connection has a transaction open."""
    from django.db import transaction

    count(7)
    transaction.set_autocommit(False)
    transaction.get_connection().cursor().execute("SELECT 1")


def end_by_sigterm():
    """End as a worker of gunicorn does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threads = [threading.Thread(target=count, args=(1000,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("counted", flush=True)
    time.sleep(60)


def be_killed():
    """Leave without any hook, once the thread has written."""
    from django_rwrouter.stats.table import RoutingStatistics

    count(7)
    while not RoutingStatistics.objects.on_primary().exists():
        time.sleep(0.01)
    os._exit(0)


def fork():
    """Fork after having counted, as a server that preloads does; parent and child go on counting."""
    count(10)
    pid = os.fork()
    count(20 if pid == 0 else 5)
    if pid == 0:
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def fork_without_counting():
    """Have a child that inherits the hooks and counts nothing."""
    count(10)
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def fork_amid_threads():
    """Fork again and again, while threads count and write."""
    from django_rwrouter import process, stats
    from django_rwrouter.stats import flusher, recorder

    process.FORK_PATIENCE = flusher.EXIT_PATIENCE = 60.0  # The flushes of a busy machine take their time.
    flusher.PUT_OFF_QUIETLY = sys.maxsize  # These threads try again at once, however long a child writes.
    over = threading.Event()

    def work():
        stats.start()
        while not over.is_set():
            stats.count_event("noise")
            stats.flush()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            signal.alarm(90)  # A deadlock ends the child.
            count(3)
            recorder._flusher._at_exit()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    over.set()
    for worker in workers:
        worker.join()


def multiprocess(method):
    context = multiprocessing.get_context(method)
    children = [context.Process(target=child, args=(sys.argv[2:], 11)) for _ in range(2)]
    for each in children:
        each.start()
    count(3)
    for each in children:
        each.join()
        assert each.exitcode == 0


ENDS = {
    "migrate": migrate,
    "by-itself": end_by_itself,
    "never-serving": never_serve,
    "testing": never_serve_but_test,
    "in-a-transaction": end_in_a_transaction,
    "by-sigterm": end_by_sigterm,
    "killed": be_killed,
    "fork": fork,
    "fork-without-counting": fork_without_counting,
    "fork-amid-threads": fork_amid_threads,
    "multiprocessing-fork": lambda: multiprocess("fork"),
    "multiprocessing-forkserver": lambda: multiprocess("forkserver"),
    "multiprocessing-spawn": lambda: multiprocess("spawn"),
}

if __name__ == "__main__":
    set_up(*sys.argv[2:])
    ENDS[sys.argv[1]]()
