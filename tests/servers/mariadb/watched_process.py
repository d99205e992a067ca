"""A process that watches the cluster, and does one of the things that processes do. Run by test_monitor.py.

Its argument says which. As a module it is a WSGI application that tells what its process watches.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time

import django
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

from tests.servers.mariadb import settings

INTERVAL = float(os.environ.get("INTERVAL", "0.1"))

settings.RWROUTER = {
    "REPLICAS": settings.REPLICAS,
    "CONSISTENCY": "eventual",
    "MONITOR": {"INTERVAL": INTERVAL, "TIMEOUT": 1.0, "SHARE": os.environ.get("SHARE", "none")},
    "STATS": {"BACKEND": "off"},
}
if "REDIS_URL" in os.environ:
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": os.environ["REDIS_URL"]}}
settings.ROOT_URLCONF = __name__
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.servers.mariadb.settings"

NAMES = sorted(["rwrouter-monitor", *(f"rwrouter-probe-{alias}" for alias in settings.ALIASES)])


def threads():
    return sorted(each.name for each in threading.enumerate() if each.name.startswith("rwrouter-"))


def route():
    """Do what a request does."""
    from django_rwrouter import routing_scope
    from tests.app.models import Book

    with routing_scope(safe=True):
        list(Book.objects.all())


def answers():
    from django_rwrouter import monitor

    return {alias: seen.at for alias, seen in monitor.snapshot().items() if seen.reachable}


def watch(rounds=2):
    """Begin to watch, and return when all servers have answered, so often."""
    from django_rwrouter import monitor

    assert threads() == [], threads()
    assert answers() == {}
    route()
    before = {}
    for _ in range(rounds):
        deadline = time.monotonic() + 20
        while len(now := answers()) < 3 or not all(at > before.get(alias, 0) for alias, at in now.items()):
            assert time.monotonic() < deadline, (monitor.snapshot(), threads())
            time.sleep(0.01)
        before = now
    assert threads() == NAMES, threads()


def ended(pid):
    """Wait for a child, which must end in good order."""
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def kept_connections():
    from django_rwrouter.monitor import lifecycle

    return {alias: each._connection for alias, each in lifecycle._monitor.rounds.probers.items()}


def fork():
    """Fork after it has begun: the child watches for itself, and the parent's connections are left alone."""
    watch()
    before = kept_connections()
    pid = os.fork()
    if pid == 0:
        from django.db import connections

        connections.close_all()  # Django's own: whoever forks has to see to these.
        for connection in before.values():
            connection.close()  # As the garbage collector might, sometime.
        watch()
        sys.exit(0)
    ended(pid)
    at = answers()
    while not all(now > at[alias] for alias, now in answers().items()):
        time.sleep(0.01)
    assert threads() == NAMES
    assert kept_connections() == before


def multiprocess(method):
    from django.db import connections

    watch()
    before = kept_connections()
    connections.close_all()
    children = [multiprocessing.get_context(method).Process(target=child) for _ in range(2)]
    for each in children:
        each.start()
    for each in children:
        each.join(30)
        assert each.exitcode == 0
    time.sleep(3 * INTERVAL)
    assert kept_connections() == before


def child():
    django.setup()
    watch()


def fork_amid_rounds():
    """Fork again and again, while the threads are busy."""
    from django.db import connections

    watch()
    connections.close_all()
    for _ in range(30):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # A deadlock ends the child.
            watch()
            os._exit(0)
        ended(pid)


def fork_amid_probes():
    """Fork while a probe holds a lock, as Django does whenever a connection is opened."""
    from django.db import connections
    from django.db.backends.signals import connection_created

    from django_rwrouter import process

    process.FORK_PATIENCE = 20.0  # The probes of a busy machine take their time.
    held = threading.Lock()

    def hold(connection, **_kwargs):
        if threading.current_thread().name.startswith("rwrouter-probe-"):
            with held:
                time.sleep(0.02)

    connections["default"].ensure_connection()
    connection_created.connect(hold)
    route()
    deadline = time.monotonic() + 20
    while not held.locked():
        assert time.monotonic() < deadline, threads()
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        os._exit(int(held.locked()))
    ended(pid)
    while len(answers()) < 3:
        assert time.monotonic() < deadline, (answers(), threads())
        time.sleep(0.01)


def end():
    watch(rounds=1)


def end_while_a_replica_is_frozen():
    """The test freezes it when it is told that all are watched, and says so."""
    watch()
    print("watched", flush=True)
    sys.stdin.readline()
    time.sleep(2 * INTERVAL)


def share():
    """Tell again and again what this process knows, until it is killed."""
    from django_rwrouter import monitor
    from django_rwrouter.monitor import lifecycle
    from django_rwrouter.servers.freshness import knowledge
    from django_rwrouter.servers.health import health

    route()
    while True:
        said = {
            "pid": os.getpid(),
            "asks": bool(lifecycle._monitor.rounds.probers),
            "watched": health.watched,
            "known": sorted(monitor.snapshot()),
            "ejected": sorted(health.ejections()),
            "age": min(knowledge.age(knowledge.last_server("replica2")), 1e6),
        }
        print(json.dumps(said), flush=True)
        time.sleep(INTERVAL / 4)


def be_asked(request):
    from django_rwrouter import monitor

    return JsonResponse(
        {
            "pid": os.getpid(),
            "imported": IMPORTED_IN,
            "threads": threads(),
            "answers": answers(),
            "away": [alias for alias, seen in monitor.snapshot().items() if not seen.reachable],
        }
    )


urlpatterns = [path("", be_asked)]
IMPORTED_IN = os.getpid()
ACTIONS = {
    "fork": fork,
    "fork-amid-rounds": fork_amid_rounds,
    "fork-amid-probes": fork_amid_probes,
    "multiprocessing-fork": lambda: multiprocess("fork"),
    "multiprocessing-forkserver": lambda: multiprocess("forkserver"),
    "end": end,
    "share": share,
    "end-while-a-replica-is-frozen": end_while_a_replica_is_frozen,
}

if __name__ == "__main__":
    django.setup()
    ACTIONS[sys.argv[1]]()
elif os.environ.get("SERVED"):
    application = get_wsgi_application()
