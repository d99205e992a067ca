"""What a client has written is seen, also if the primary could not be asked where it stands after it."""

import random
from contextlib import contextmanager

import pytest
from django.db import OperationalError, transaction
from django.test import Client

from django_rwrouter import Reason, current_token, routing_scope
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from proofs import questions
from proofs.questions import every_question
from tests.app.models import Book
from tests.servers.products.test_levels import catch_up, paused, read_until, reasons, shown  # noqa: F401
from tests.servers.products.urls import titles


@pytest.fixture(autouse=True)
def _unwatched(rwrouter):
    rwrouter(MONITOR={"MODE": "off"})


@contextmanager
def unanswered(alias, number):
    """Let one question to a server have no answer: the first, the second..."""
    asked = []

    @contextmanager
    def around(asked_alias, _asker):
        if asked_alias == alias:
            asked.append(alias)
            if len(asked) == number:
                raise OperationalError(2013, "made up")
        yield

    with every_question(around):
        yield


def check(writer, routed, cluster, clock, *, again=lambda: None):
    """The client reads its write whenever it comes, and from a replica once one has it."""
    knowledge.reset()  # The clock is put forward; what was known keeps its real age.
    for seconds in (0, 6, 300):
        clock(seconds)
        again()
        assert shown(writer.get("/plain/")) == "old,new"
    catch_up(cluster, 1)
    health.reset()

    def read():
        routed.clear()
        assert shown(writer.get("/plain/")) == "old,new"
        return reasons(routed)

    read_until(read, {("replica2", Reason.CAUSAL)}, lambda: catch_up(cluster, 1))


def test_the_position_of_a_write(paused, routed, clock):  # noqa: F811
    writer = Client()
    with unanswered("default", 1):
        writer.post("/plain/", {"title": "new"})
    check(writer, routed, paused, clock)


@pytest.mark.parametrize("alias", ["default", "replica1", "replica2"])
@pytest.mark.parametrize("number", [1, 2])
def test_and_one_more_question_of_each_read(paused, routed, clock, alias, number):  # noqa: F811
    writer = Client()
    with unanswered("default", 1):
        writer.post("/plain/", {"title": "new"})
    with unanswered(alias, number):
        for seconds in (0, 6, 300):
            clock(seconds)
            knowledge.reset()
            assert shown(writer.get("/plain/")) == "old,new"


def test_while_the_primary_seems_away_an_open_connection_is_asked(paused, routed, clock):  # noqa: F811
    writer = Client()
    with routing_scope():
        Book.objects.create(title="new")
        health.lost_primary("default", 60)
        token = current_token()
    health.reset()
    clock(300)
    with routing_scope(safe=True, token=token):
        assert list(titles()) == ["old", "new"]
    assert routed[-1].reason is Reason.BEHIND  # It has a position.
    assert writer.cookies == {}


def test_a_token_made_inside_a_transaction(paused, routed, clock):  # noqa: F811
    with routing_scope(), transaction.atomic():
        Book.objects.create(title="new")
        token = current_token()
    for seconds in (0, 6, 300):
        clock(seconds)
        with routing_scope(safe=True, token=token):
            assert list(titles()) == ["old", "new"]
    catch_up(paused, 1)

    def read():
        with routing_scope(safe=True, token=token):
            assert list(titles()) == ["old", "new"]
        return routed[-1].alias

    read_until(read, "replica2", lambda: catch_up(paused, 1))


def test_strong_without_a_floor_is_the_primary(paused, routed, rwrouter):  # noqa: F811
    rwrouter(CONSISTENCY="strong")
    Client().post("/plain/", {"title": "new"})
    with unanswered("default", 1):
        routed.clear()
        assert shown(Client().get("/plain/")) == "old,new"
    assert reasons(routed) == {("default", Reason.NO_POSITION)}


def test_whichever_question_goes_wrong_no_read_is_stale(cluster, product, rwrouter):
    """The short form; ``python -m proofs questions`` is the long one, whose report is in proofs/reports."""
    rwrouter(**questions.SETTINGS)
    outcome = questions.run(cluster, questions.Outcome(product), seconds=12.0, seed=random.randrange(2**32))
    assert outcome.errors == []
    assert outcome.stale == 0, outcome.first_stale
    assert outcome.on_replicas
    assert len({question for question, _way in outcome.injected}) > 1
