"""Announcements while other threads of the same request announce and use theirs."""

from types import SimpleNamespace

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.sql import classify
from django_rwrouter.decision import Reason
from django_rwrouter.execution import announcements
from django_rwrouter.scope.state import RoutingState
from tests.app.models import Author, Tag

READ = classify("SELECT * FROM app_book", "sqlite")
WRITE = classify("DELETE FROM app_author", "sqlite")


def announced(statement, *, reads=None, writes=None):
    state = RoutingState(safe=True)
    state.announced_reads["default"] = {} if reads is None else reads
    state.announced_writes["default"] = {} if writes is None else writes
    connection = SimpleNamespace(alias="default", in_atomic_block=True)
    context = {"connection": connection, "cursor": SimpleNamespace()}
    return announcements.announced(state, context, statement)


class TakenMeanwhile(dict):
    """What was there when one looked has been taken by another thread."""

    def __contains__(self, table):
        return True

    def __len__(self):
        return 1


def test_a_read_that_another_thread_has_used_up():
    assert announced(READ, reads=TakenMeanwhile()) is None


def test_a_write_that_another_thread_announces_anew():
    assert announced(WRITE, writes=TakenMeanwhile()) is None


def test_reads_that_another_thread_announces_meanwhile(monkeypatch):
    def tables_between(model):
        reads["app_profile"] = tag
        return {"app_book"} if model is Tag else {"app_author"}

    monkeypatch.setattr(announcements, "_tables_between", tables_between)
    author, tag = (
        get_topology().route(model).decide("default", Reason.WRITE, "write") for model in (Author, Tag)
    )
    reads = {"app_author": author, "app_tag": tag}
    assert announced(READ, reads=reads) is tag
    assert reads.keys() == {"app_author", "app_profile"}
