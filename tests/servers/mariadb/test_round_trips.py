"""What routing costs the servers, as they count it themselves."""

from contextlib import ExitStack

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.servers import asking
from tests.servers.mariadb import settings as ours
from tests.servers.mariadb.views import titles

ADDED_WHEN_OPENED = 2
"""Statements of ours, at most, on a replica's connection that is opened."""


def statements(alias):
    """How many statements this thread's connection has sent, as its server counts them."""
    connections[alias].ensure_connection()
    # Past Django, so that nothing of ours can see it, or add to it.
    with connections[alias].connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
        [(_name, count)] = cursor.fetchall()
    return int(count)


@pytest.fixture
def sent(cluster):
    """Call it for how many statements each database was sent since the last call."""
    for alias in ours.REPLICAS:
        connections[alias].ensure_connection()
        # What a new connection costs, another test counts.
        asking.ask_replica(get_topology().by_alias[alias], connections[alias])
    before = {alias: statements(alias) for alias in ours.ALIASES}

    def since():
        now = {alias: statements(alias) for alias in ours.ALIASES}
        # To ask is a statement, too.
        counts = {alias: now[alias] - before[alias] - 1 for alias in ours.ALIASES}
        before.update(now)
        return counts["default"], counts["replica1"] + counts["replica2"]

    assert since() == (0, 0)
    return since


@pytest.mark.parametrize("level", ["window", "eventual"])
@pytest.mark.parametrize("path", ["/orm/", "/async-orm/"], ids=["sync", "async"])
def test_a_request_sends_what_its_view_sends(sent, rwrouter, level, path):
    rwrouter(CONSISTENCY=level)
    for _ in range(5):
        Client().get(path)
    assert sent() == (0, 5)
    writer = Client()
    writer.post(path, {"title": "new"})
    assert sent() == (2, 0)
    for _ in range(5):
        writer.get(path)
    assert sent() == ((5, 0) if level == "window" else (0, 5))


def test_a_request_without_queries_sends_nothing(sent, client):
    assert client.get("/nowhere/").status_code == 404
    assert sent() == (0, 0)


def test_the_session_store_sends_what_the_session_sends(sent, settings, rwrouter):
    """A session in the database is looked up once; nothing is sent for a visitor without one."""
    routing, sessions, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = [sessions, routing, *others]
    rwrouter(STORE="session")
    visitor = Client()
    visitor.get("/orm/")
    assert sent() == (0, 1)
    visitor.post("/orm/", {"title": "new"})
    sent()
    visitor.get("/orm/")
    assert sent() == (2, 0)


def test_transactions_cost_what_they_cost_without_routing(sent, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    Client().get("/orm/")
    in_transaction, on_replicas = sent()
    # Autocommit off, commit, autocommit on: Django's own; the primary is not asked anything.
    assert (in_transaction, on_replicas) == (3, 1)


def open_anew(alias):
    """Open a connection; what Django asks a server only once has been asked before."""
    for _ in range(2):
        connections[alias].close()
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")


def test_a_replica_that_is_opened_costs_two_statements_at_most(cluster, settings):
    opened = []
    for enabled in [False, True]:
        settings.RWROUTER = {"REPLICAS": ours.REPLICAS if enabled else []}
        open_anew("replica1")
        opened.append(statements("replica1"))
    unrouted, routed = opened
    assert 0 < routed - unrouted <= ADDED_WHEN_OPENED


def test_the_primary_is_opened_as_without_routing(cluster, settings):
    opened = []
    for enabled in [True, False]:
        settings.RWROUTER = {"REPLICAS": ours.REPLICAS if enabled else []}
        open_anew("default")
        opened.append(statements("default"))
    assert opened[0] == opened[1]


def captured(*aliases, call):
    """What Django lets a test see that is sent to these databases; their connections are opened for it."""
    for alias in aliases:
        open_anew(alias)
    with ExitStack() as stack:
        queries = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in aliases]
        for alias in aliases:
            connections[alias].close()  # It was opened to capture.
        call()
        return [query["sql"] for each in queries for query in each]


def test_queries_that_a_test_sees_are_its_own(cluster, django_assert_num_queries):
    select = str(titles().query)
    djangos_own = captured("unrouted", call=connections["unrouted"].ensure_connection)
    assert captured(*ours.ALIASES, call=lambda: Client().get("/orm/")) == [*djangos_own, select]
    with django_assert_num_queries(3, using="default"):
        client = Client()
        client.post("/orm/", {"title": "new"})
        client.get("/orm/")
