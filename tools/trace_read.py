"""Prints the way of a read through the package: its Python calls, the modules, and each change of module.

    tools/trace_read.py [--calls]

Traces a GET with ``list(Group.objects.filter(pk=1))`` at the level ``causal``, twice: the first read of the
request, which opens a connection and asks a replica for its position, and the same read again. The process
has served such a request before, but its connections are closed; the client has a position in its cookie, and
no monitor runs. The databases are SQLite's, with a driver for positions that is made up: no server is needed.
"""

import argparse
import atexit
import itertools
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import django  # noqa: E402
from django.conf import settings  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

PACKAGE = ROOT / "django_rwrouter"
ALIASES = ("default", "replica1", "replica2")


@dataclass(slots=True)
class Trace:
    """The package's calls in their order: the module, the line and the function of each."""

    calls: list[tuple[str, int, str]] = field(default_factory=list)
    alias: str = ""
    """The database that answered."""

    @property
    def modules(self) -> Counter[str]:
        """How many calls each module has."""
        return Counter(module for module, _line, _function in self.calls)

    @property
    def changes(self) -> int:
        """How often a call is in another module than the call before it."""
        modules = [module for module, _line, _function in self.calls]
        return sum(one != other for one, other in itertools.pairwise(modules))

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take note of a call, if it is the package's: the function that ``sys.setprofile`` calls.

        Comprehensions and the like are calls in some versions of Python alone, and not counted.
        """
        code: CodeType = frame.f_code
        is_function = event == "call" and not code.co_name.startswith("<")
        if is_function and code.co_filename.startswith(f"{PACKAGE}/"):
            module = Path(code.co_filename).relative_to(PACKAGE).as_posix()
            self.calls.append((module, code.co_firstlineno, getattr(code, "co_qualname", code.co_name)))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Trace what this thread does inside the block."""
        sys.setprofile(self.note)
        try:
            yield
        finally:
            sys.setprofile(None)


# --- the site --------------------------------------------------------------------------------------


def write(_request: HttpRequest) -> HttpResponse:
    """Write, so that the client has a position."""
    from django.contrib.auth.models import Group

    Group.objects.update_or_create(pk=1, defaults={"name": "readers"})
    return HttpResponse()


first, repeated = Trace(), Trace()
"""Of the last request."""


def read_twice(_request: HttpRequest) -> HttpResponse:
    """End the first trace after one read, and trace the second by itself."""
    from django.contrib.auth.models import Group

    [group] = Group.objects.filter(pk=1)
    sys.setprofile(None)
    first.alias = group._state.db or ""
    repeated.calls.clear()
    with repeated():
        [group] = Group.objects.filter(pk=1)
    repeated.alias = group._state.db or ""
    return HttpResponse()


urlpatterns = [path("write/", write), path("read/", read_twice)]


def trace(folder: Path) -> int:
    """Fill both traces, with databases in ``folder``; return how many questions for a position there were."""
    settings.configure(
        SECRET_KEY="for this trace alone",  # noqa: S106
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_rwrouter"],
        MIDDLEWARE=["django_rwrouter.middleware.ReadWriteMiddleware"],
        DATABASES={
            alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / f"{alias}.sqlite3")}
            for alias in ALIASES
        },
        DATABASE_ROUTERS=["django_rwrouter.router.ReadWriteRouter"],
        RWROUTER={
            "REPLICAS": list(ALIASES[1:]),
            "CONSISTENCY": "causal",
            "MONITOR": {"MODE": "off"},
        },
    )
    django.setup()
    from benchmarks import fixed_positions

    fixed_positions.register()
    from django.core.management import call_command
    from django.db import connections
    from django.test import Client

    call_command("migrate", verbosity=0, interactive=False)
    client = Client()
    client.post("/write/")
    connections.close_all()
    for replica in ALIASES[1:]:
        shutil.copy(folder / "default.sqlite3", folder / f"{replica}.sqlite3")
    client.get("/read/")
    connections.close_all()
    fixed_positions.FixedPositions.asked = 0
    with first():
        client.get("/read/")
    return fixed_positions.FixedPositions.asked


def main() -> None:
    """Print both traces."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", action="store_true", help="each call, in its order")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rwrouter-trace-"))
    atexit.register(
        shutil.rmtree, folder, ignore_errors=True
    )  # After the statistics, which are written then.
    asked = trace(folder)
    if not asked or first.alias not in ALIASES[1:]:
        sys.exit(
            f"The read was answered by {first.alias}, after {asked} questions for a position:"
            " fixed_positions.register() is no longer how a driver is registered."
        )
    for name, traced in (("first", first), ("repeated", repeated)):
        print(
            f"{name} read from {traced.alias}: {len(traced.calls)} calls in {len(traced.modules)} modules,"
            f" {traced.changes} changes of module"
        )
        for module, count in traced.modules.most_common():
            print(f"  {count:4} {module}")
        if options.calls:
            print(*(f"    {module}:{line} {function}" for module, line, function in traced.calls), sep="\n")


if __name__ == "__main__":
    main()
