"""Two views, sync and async, that do what a visit's steps say, and compare what they read with the oracle."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

import django_rwrouter as package
from proofs.walk.models import TABLES
from proofs.walk.oracle import BOUND, Block, Oracle, Place, Scope, Slot
from proofs.walk.programs import Steps, Visit
from proofs.walk.settings import CLUSTERS

MADE_UP = "made up"


class MissedError(AssertionError):
    """A promise was broken."""


class MadeUpError(Exception):
    """The view's own failure."""


class Running:
    """A request that runs: what it is to do, and who watches."""

    def __init__(self, visit: Visit, oracle: Oracle, scope: Scope, world: Any) -> None:
        self.visit = visit
        self.oracle = oracle
        self.place = Place(scope)
        self.world = world
        self.is_clean = False
        """Whether the client has never written, so that nothing keeps its reads from the replicas."""
        self.litter: list[Any] = []
        """Generators that nobody has ended."""

    # --- the steps, synchronously ---------------------------------------------------------------

    def run(self, steps: Steps, place: Place) -> None:
        """Do all of the steps."""
        for step in steps:
            getattr(self, f"_{step[0]}")(place, *step[1:])

    def seal(self) -> None:
        """Note that the response's headers are gone."""
        if self.place.scope is not None:
            self.place.scope.sealed = True

    def request_session(self, request: HttpRequest) -> None:
        """Let the steps use the request's session."""
        self.request = request

    def _read(self, place: Place, slot: Slot, how: str) -> None:
        needed = self.oracle.needed(place, slot)
        before = self.world.counts["on replicas"]
        self._compare(place, slot, how, needed, READERS[how](slot))
        scope = place.scope
        is_clean = self.is_clean and scope is not None and scope.safe and not scope.touched
        if is_clean and place == self.place and self.world.counts["on replicas"] == before:
            raise self._missed(f"read {slot} ({how}): on the primary, and nothing speaks for that")

    def _compare(self, place: Place, slot: Slot, how: str, needed: int, seen: int | None) -> None:
        self.world.counts["reads"] += 1
        if (seen or 0) < needed:
            self.world.counts["missed"] += 1
            if self.world.counts_misses:
                return
            raise self._missed(f"read {slot} ({how}): saw {seen}, should have seen {needed}, at {place}")
        self.oracle.saw(place, slot, seen or 0)
        if (seen or 0) < self.oracle.newest(slot):
            self.world.counts["older"] += 1

    def _write(self, place: Place, slot: Slot, how: str) -> None:
        version = self.oracle.new_version()
        WRITERS[how](slot, version)
        self.oracle.wrote(place, slot)
        primary = CLUSTERS[slot.cluster][0]
        transaction.on_commit(lambda: self.oracle.committed(place, slot, version), using=primary)
        self.world.counts["writes"] += 1

    def _session(self, place: Place, action: str) -> None:
        session = self.request.session
        if action == "set":
            session["visits"] = session.get("visits", 0) + 1
        elif action == "get":
            session.get("visits")
        else:
            getattr(session, action)()

    def _refused(self, place: Place, cluster: str) -> None:
        alias = CLUSTERS[cluster][1][0]
        try:
            TABLES[cluster, "cell"]._default_manager.using(alias).update(version=0)  # noqa: SLF001
        except package.ReplicaWriteError:
            return
        raise self._missed(f"{alias} took a write")

    def _missed(self, what: str) -> MissedError:
        """Let the walk know, whoever catches the error."""
        error = MissedError(what)
        self.world.failure = self.world.failure or error
        return error

    def _token(self, place: Place) -> None:
        package.current_token()

    def _block(self, place: Place, kind: str, cluster: str | None, steps: Steps) -> None:
        with block_of(kind, cluster):
            self.run(steps, place.inside(Block(kind, cluster, self.oracle.number)))

    def _atomic(self, place: Place, cluster: str, rolled_back: bool, steps: Steps) -> None:
        inside = Place(place.scope, place.blocks, place.transactions | {cluster})
        primary = CLUSTERS[cluster][0]
        with transaction.atomic(using=primary):
            self.run(steps, inside)
            if rolled_back:
                transaction.set_rollback(True, using=primary)

    def _scope(self, place: Place, safe: bool, with_token: bool, steps: Steps) -> None:
        token, inside = self._scope_in(place, safe, with_token)
        with package.routing_scope(safe=safe, token=token):
            self.run(steps, inside)

    def _scope_in(self, place: Place, safe: bool, with_token: bool) -> tuple[str, Place]:
        outer = place.scope
        needs = {}
        if with_token and outer is not None:
            needs = {**outer.needs, **outer.own, **outer.own_late}
        scope = Scope(safe, needs, self.oracle.number, outer)
        scope.sealed = outer is not None and outer.sealed
        token = package.current_token() if with_token else ""
        return token, Place(scope, place.blocks, place.transactions)

    def _thread(self, place: Place, inherits: bool, steps: Steps) -> None:
        place = Place(place.scope, place.blocks) if inherits else Place(None)
        in_a_thread(lambda: self.run(steps, place), contextvars.copy_context() if inherits else None)

    def _generator(self, place: Place, kind: str, end: str, inner: Steps, outer: Steps) -> None:
        def generator() -> Iterator[None]:
            with block_of(kind, None):
                inside = place.inside(Block(kind, None, self.oracle.number))
                self.run(inner, inside)
                yield
                self.run(inner, inside)

        steps = generator()
        next(steps)
        self.run(outer, place)
        if end == "ended":
            next(steps, None)
        else:
            self.litter.append(steps)

    def _deferred(self, place: Place, slot: Slot, how: str, steps: Steps) -> None:
        queryset = QUERYSETS.get(how, QUERYSETS["values"])(slot)
        self.run(steps, place)
        needed = self.oracle.needed(place, slot)
        self._compare(place, slot, f"{how}, built earlier", needed, max(map(version_of, queryset), default=0))

    def _gather(self, place: Place, steps: Steps) -> None:
        self.run(steps, place)

    def _meanwhile(self, place: Place, visit: Visit) -> None:
        in_a_thread(lambda: self.world.visit(visit, nested=True), None)

    def _replicate(self, place: Place, event: Any) -> None:
        self.world.happen(event)

    # --- and asynchronously ---------------------------------------------------------------------

    async def arun(self, steps: Steps, place: Place) -> None:
        """Do all of the steps, on the event loop as far as a view would."""
        for step in steps:
            native = getattr(self, f"_a{step[0]}", None)
            if native is None:
                await sync_to_async(self.run)((step,), place)
            else:
                await native(place, *step[1:])

    async def _aread(self, place: Place, slot: Slot, how: str) -> None:
        if how == "cursor":
            await sync_to_async(self.run)((("read", slot, how),), place)
            return
        needed = self.oracle.needed(place, slot)
        versions = [version_of(row) async for row in rows_of(slot).values_list("version", flat=True)]
        self._compare(place, slot, "async for", needed, max(versions, default=0))

    async def _awrite(self, place: Place, slot: Slot, how: str) -> None:
        if how not in {"update", "create"}:
            await sync_to_async(self.run)((("write", slot, how),), place)
            return
        version = self.oracle.new_version()
        if how == "update":
            await rows_of(slot).aupdate(version=version)
        else:
            await TABLES[slot[:2]]._default_manager.acreate(key=slot.key, version=version)  # noqa: SLF001
        self.oracle.wrote(place, slot)
        self.oracle.committed(place, slot, version)
        self.world.counts["writes"] += 1

    async def _ablock(self, place: Place, kind: str, cluster: str | None, steps: Steps) -> None:
        with block_of(kind, cluster):
            await self.arun(steps, place.inside(Block(kind, cluster, self.oracle.number)))

    async def _ascope(self, place: Place, safe: bool, with_token: bool, steps: Steps) -> None:
        token, inside = self._scope_in(place, safe, with_token)
        with package.routing_scope(safe=safe, token=token):
            await self.arun(steps, inside)

    async def _agather(self, place: Place, steps: Steps) -> None:
        await asyncio.gather(*(self.arun((step,), place) for step in steps))

    async def _agenerator(self, place: Place, kind: str, end: str, inner: Steps, outer: Steps) -> None:
        async def generator() -> AsyncIterator[None]:
            with block_of(kind, None):
                inside = place.inside(Block(kind, None, self.oracle.number))
                await self.arun(inner, inside)
                yield
                await self.arun(inner, inside)

        steps = generator()
        await anext(steps)
        await self.arun(outer, place)
        if end == "ended":
            await anext(steps, None)
        else:
            self.litter.append(steps)


def in_a_thread(work: Callable[[], None], context: contextvars.Context | None) -> None:
    """Run something in a thread of its own, and wait for it; without a context, it inherits nothing."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            if context is None:
                work()
            else:
                context.run(work)
        except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def block_of(kind: str, cluster: str | None) -> AbstractContextManager[object]:
    """Return the package's block of that name."""
    if kind == "primary":
        return package.use_primary(cluster=cluster)
    if kind == "replica":
        return package.use_replica(cluster=cluster)
    if kind == "untracked":
        return package.untracked_writes()
    return package.consistency(kind, cluster=cluster, max_staleness=BOUND if kind == "bounded" else None)


# --- reading and writing ------------------------------------------------------------------------


def rows_of(slot: Slot) -> Any:
    """Return the queryset of a slot's rows."""
    return TABLES[slot[:2]]._default_manager.filter(key=slot.key)  # noqa: SLF001


def version_of(row: Any) -> int:
    """Return the version of what a queryset yields."""
    return row if isinstance(row, int) else row.version


def sql_of(slot: Slot) -> tuple[str, list[int]]:
    """Return the statement that selects a slot's rows."""
    return f"SELECT * FROM {TABLES[slot[:2]]._meta.db_table} WHERE key = %s", [slot.key]  # noqa: S608


def by_cursor(slot: Slot) -> int:
    """Read on the connection that the package names for raw SQL."""
    sql, arguments = sql_of(slot)
    with package.read_connection(slot.cluster).cursor() as cursor:
        cursor.execute(sql.replace("*", "MAX(version)"), arguments)
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


QUERYSETS: dict[str, Callable[[Slot], Any]] = {
    "values": lambda slot: rows_of(slot).values_list("version", flat=True),
    "newest": lambda slot: rows_of(slot).order_by("-version")[:1],
    "raw": lambda slot: TABLES[slot[:2]]._default_manager.raw(*sql_of(slot)),  # noqa: SLF001
}
READERS: dict[str, Callable[[Slot], int | None]] = {
    "aggregate": lambda slot: rows_of(slot).aggregate(newest=Max("version"))["newest"],
    "newest": lambda slot: max(map(version_of, QUERYSETS["newest"](slot)), default=0),
    "values": lambda slot: max(QUERYSETS["values"](slot), default=0),
    "raw": lambda slot: max(map(version_of, QUERYSETS["raw"](slot)), default=0),
    "cursor": by_cursor,
}


def save(slot: Slot, version: int) -> None:
    """Read an object, wherever from, and save it."""
    cell = rows_of(slot).get()
    cell.version = version
    cell.save()


def save_locked(slot: Slot, version: int) -> None:
    """Lock the object first."""
    with transaction.atomic(using=CLUSTERS[slot.cluster][0]):
        cell = rows_of(slot).select_for_update().get()
        cell.version = version
        cell.save()


def write_by_cursor(slot: Slot, version: int) -> None:
    """Write past the ORM."""
    table = TABLES[slot[:2]]._meta.db_table
    with connections[CLUSTERS[slot.cluster][0]].cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET version = %s WHERE key = %s", [version, slot.key])  # noqa: S608


def manager(slot: Slot) -> Any:
    """Return the manager of a slot's table."""
    return TABLES[slot[:2]]._default_manager  # noqa: SLF001


WRITERS: dict[str, Callable[[Slot, int], object]] = {
    "update": lambda slot, version: rows_of(slot).update(version=version),
    "save": save,
    "locked": save_locked,
    "update_or_create": lambda slot, version: manager(slot).update_or_create(
        key=slot.key, defaults={"version": version}
    ),
    "cursor": write_by_cursor,
    "create": lambda slot, version: manager(slot).create(key=slot.key, version=version),
    "bulk_create": lambda slot, version: manager(slot).bulk_create(
        [TABLES[slot[:2]](key=slot.key, version=version)]
    ),
    "get_or_create": lambda slot, version: manager(slot).get_or_create(key=slot.key, version=version),
    "save_new": lambda slot, version: TABLES[slot[:2]](key=slot.key, version=version).save(),
}

# --- the views ------------------------------------------------------------------------------------

running: dict[int, Running] = {}
"""By the number in the path, the request that is being answered."""


def sync_view(request: HttpRequest, number: int) -> HttpResponseBase:
    """Do the steps."""
    it = running[number]
    it.request_session(request)
    it.run(it.visit.steps, it.place)
    if it.visit.ending == "stream":
        return StreamingHttpResponse(chunks(it))
    return ended(it)


async def async_view(request: HttpRequest, number: int) -> HttpResponseBase:
    """Do the steps, natively."""
    it = running[number]
    it.request_session(request)
    await it.arun(it.visit.steps, it.place)
    if it.visit.ending == "stream":
        return StreamingHttpResponse(achunks(it))
    return ended(it)


def chunks(it: Running) -> Iterator[bytes]:
    """Stream the body."""
    it.seal()
    for steps in it.visit.body:
        it.run(steps, it.place)
        yield b"."


async def achunks(it: Running) -> AsyncIterator[bytes]:
    """Stream the body."""
    it.seal()
    for steps in it.visit.body:
        await it.arun(steps, it.place)
        yield b"."


def ended(it: Running) -> HttpResponse:
    """Return the response, or raise."""
    if it.visit.ending == "raise":
        raise MadeUpError(MADE_UP)
    if it.visit.ending == "redirect":
        return HttpResponseRedirect("/")
    return HttpResponse(b".", status=500 if it.visit.ending == "status 500" else 200)


urlpatterns = [
    path("sync/<int:number>/", sync_view),
    path("async/<int:number>/", async_view),
    path("unsafe/sync/<int:number>/", sync_view),
    path("unsafe/async/<int:number>/", async_view),
]
