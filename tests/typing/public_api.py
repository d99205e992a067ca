"""The public API as a user writes it; mypy checks this file in strict mode, and nobody runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from django.contrib.auth.models import Group
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from typing_extensions import assert_type

from django_rwrouter import (
    Decision,
    Level,
    NoReplicaAvailable,
    Reason,
    ReplicaWriteError,
    consistency,
    current_token,
    drain,
    mark_written,
    read_connection,
    restore_token,
    routing_scope,
    undrain,
    untracked_writes,
    use_primary,
    use_replica,
)
from django_rwrouter.balancers import Balancer
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.middleware import ReadWriteMiddleware
from django_rwrouter.router import ReadWriteRouter
from django_rwrouter.signals import statement_routed
from django_rwrouter.stores import Store
from django_rwrouter.testing import assert_no_stale_reads, capture_routing

# --- context managers ----------------------------------------------------------------------------


def blocks() -> int:
    with use_primary(), use_replica(strict=True), use_primary(cluster="default"):
        pass
    with consistency("eventual"), consistency(Level.WINDOW, strict=True, cluster="default"):
        pass
    with untracked_writes(), routing_scope(), routing_scope(safe=True, token="x"):
        return 1


async def blocks_in_async_code() -> int:
    with use_primary():
        return 1


# --- decorators keep the signature ---------------------------------------------------------------


@use_primary()
def view(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(str(pk))


@consistency("window")
async def async_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@routing_scope(safe=True)
def task(name: str, *, count: int = 1) -> list[str]:
    return [name] * count


assert_type(view(HttpRequest(), 1), HttpResponse)
assert_type(task("x", count=2), list[str])
task(1)  # type: ignore[arg-type]
view()  # type: ignore[call-arg]


async def calls() -> None:
    assert_type(await async_view(HttpRequest()), HttpResponse)


@method_decorator(use_replica(), name="dispatch")
class Page(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


# --- functions -----------------------------------------------------------------------------------


def raw_sql() -> None:
    with read_connection().cursor() as cursor:
        cursor.execute("SELECT 1")
    assert_type(read_connection("default").alias, str)
    mark_written()
    mark_written("default")
    mark_written(1)  # type: ignore[arg-type]


def carry() -> None:
    token = current_token()
    assert_type(token, str)
    restore_token(token)
    restore_token(None)  # type: ignore[arg-type]


def operate() -> None:
    drain("replica1")
    drain("replica1", reason="a new disk", by="kim")
    assert_type(undrain("replica1"), bool)
    undrain()  # type: ignore[call-arg]


# --- values --------------------------------------------------------------------------------------


def look(decision: Decision) -> str:
    assert_type(decision.alias, str)
    assert_type(decision.reason, Reason)
    assert_type(decision.model, type[Model] | None)
    assert_type(decision.would_be, str | None)
    assert_type(decision.operation, Literal["read", "write"])
    decision.alias = "x"  # type: ignore[misc]
    assert_type(decision.reason.on_primary, bool)
    return f"{decision.reason.value}: {decision.reason.label}"


decided = Decision(alias="default", reason=Reason.PINNED, operation="read", model=Group)
Decision("default", Reason.PINNED)  # type: ignore[call-arg]


def errors() -> None:
    try:
        Group.objects.using("replica1").create(name="x")
    except ReplicaWriteError as error:
        print(error.__cause__)
    except NoReplicaAvailable:
        pass


# --- testing -------------------------------------------------------------------------------------


def tests() -> None:
    with capture_routing() as decisions:
        Group.objects.count()
    assert_type(decisions, list[Decision])
    with assert_no_stale_reads(), assert_no_stale_reads(allow_eventual=True):
        pass


# --- parts of one's own --------------------------------------------------------------------------


class Last:
    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        return replicas[-1]


class Nowhere:
    blocks = False

    def load(self, request: HttpRequest) -> str:
        return ""

    def save(self, request: HttpRequest, response: object, token: str, max_age: float) -> None:
        pass


balancer: Balancer = Last()
store: Store = Nowhere()
not_a_balancer: Balancer = Nowhere()  # type: ignore[assignment]


def listen(
    *, alias: str, decision: Decision, sql: str, seconds: float, wrote: bool, **kwargs: object
) -> None:
    pass


statement_routed.connect(listen)


# --- what Django calls ---------------------------------------------------------------------------


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


async def async_answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


ReadWriteMiddleware(answer)
ReadWriteMiddleware(async_answer)
assert_type(ReadWriteRouter().db_for_read(Group), str | None)
assert_type(ReadWriteRouter().db_for_write(Group, instance=Group()), str | None)
assert_type(ReadWriteRouter().allow_relation(Group(), Group()), bool | None)
assert_type(ReadWriteRouter().allow_migrate("default", "app", model_name="book"), bool | None)
