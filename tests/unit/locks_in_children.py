"""Forks with each lock of the package held, one after another; prints those that a child cannot take.

Run by test_process.py in a process of its own, which has no thread but the first.
"""

import importlib
import os
import pkgutil
import sys
import threading

import django
from django.conf import settings

LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Semaphore)


def modules():
    import django_rwrouter

    for module in pkgutil.walk_packages(django_rwrouter.__path__, "django_rwrouter."):
        if not module.name.startswith(("django_rwrouter.contrib.", "django_rwrouter.migrations")):
            yield importlib.import_module(module.name)


def is_of_the_package(value):
    return type(value).__module__.startswith("django_rwrouter.")


def attributes(value):
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return {**{name: getattr(value, name, None) for name in names}, **getattr(value, "__dict__", {})}


def locks_in(value, path, depth=0):
    """Yield the locks that lead from a global, each with the attributes and keys on the way."""
    if isinstance(value, LOCKS):
        yield path, value
    elif depth < 4 and isinstance(value, dict):
        for key, inner in list(value.items()):
            yield from locks_in(inner, (*path, key), depth + 1)
    elif depth < 4 and is_of_the_package(value):
        for name, inner in attributes(value).items():
            yield from locks_in(inner, (*path, name), depth + 1)


def all_locks():
    return {
        (module.__name__, *path): lock
        for module in modules()
        for name, value in vars(module).items()
        for path, lock in locks_in(value, (name,))
        if not isinstance(value, type)
    }


def is_usable_in_child(path, lock):
    """Fork while the lock is held; return whether the child finds a free one in its place, or none."""
    with lock:
        child = os.fork()
        if child == 0:
            own = all_locks().get(path)
            os._exit(0 if own is None or own.acquire(blocking=False) else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def main():
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django_rwrouter",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    )
    django.setup()
    found = all_locks()
    broken = [path for path, lock in found.items() if not is_usable_in_child(path, lock)]
    print("locks:", len(found), "broken:", *(".".join(map(str, path)) for path in broken))
    return 1 if broken or not found else 0


if __name__ == "__main__":
    sys.exit(main())
