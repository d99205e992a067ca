"""What each level promises, on each database. Replicas are paused, so that it is known what they have."""

import time
from contextlib import contextmanager

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.test import Client

from django_rwrouter import Reason, consistency, current_token, routing_scope
from django_rwrouter.servers import asking, waiting
from tests.app.models import Book
from tests.asynchronous import Asynchronous
from tests.servers.products.conftest import lead_to
from tests.servers.products.settings import REPLICAS
from tests.servers.products.urls import titles

WAYS = ["plain", "atomic", "on-commit", "async", "streamed"]


@pytest.fixture(params=[Client, Asynchronous], ids=["client", "async_client"])
def new_client(request):
    return request.param


@pytest.fixture
def paused(cluster):
    for replica in cluster.replicas:
        cluster.pause(replica)
    return cluster


def catch_up(cluster, *numbers):
    for number in numbers:
        replica = cluster.replicas[number]
        cluster.resume(replica)
        cluster.wait(replica)
        cluster.pause(replica)


def shown(response):
    content = async_to_sync(joined)(response) if response.streaming else response.content
    return content.decode().rstrip(",")


async def joined(response):
    if response.is_async:
        return b"".join([chunk async for chunk in response])
    return b"".join(response)


def reasons(routed):
    return {(decision.alias, decision.reason) for decision in routed}


def read_until(read, expected, between=lambda: None):
    """Read until the answer comes from there, as PostgreSQL logs a little even while nobody writes."""
    deadline = time.monotonic() + 20
    while (found := read()) != expected:
        assert time.monotonic() < deadline, found
        between()


@pytest.mark.parametrize("way", WAYS)
def test_causal(paused, routed, new_client, way):
    if way == "streamed" and new_client is Asynchronous:
        pytest.skip(
            "not for this client: a synchronous iterator cannot be served asynchronously without a warning"
        )
    writer, other = new_client(), new_client()
    assert shown(writer.post(f"/{way}/", {"title": "new"})) == "old,new"
    routed.clear()
    assert shown(writer.get(f"/{way}/")) == "old,new"
    assert reasons(routed) == {("default", Reason.BEHIND)}
    routed.clear()
    assert shown(other.get(f"/{way}/")) == "old"
    assert {reason for _alias, reason in reasons(routed)} == {Reason.CAUSAL}
    catch_up(paused, 1)
    for _ in range(5):
        routed.clear()
        assert shown(writer.get(f"/{way}/")) == "old,new"
        assert reasons(routed) == {("replica2", Reason.CAUSAL)}


def test_a_scope_learns_that_one_inside_it_has_reached_another_server(paused, rwrouter, routed):
    """An address may lead elsewhere when its connection is opened anew."""
    rwrouter(REPLICAS=["replica1"])
    with routing_scope():
        Book.objects.create(title="new")
        token = current_token()
    catch_up(paused, 0)
    with routing_scope(safe=True, token=token):
        assert list(titles()) == ["old", "new"]
        with routing_scope(safe=True):
            connections["replica1"].close()
            lead_to("replica1", paused.replicas[1])
            assert list(titles()) == ["old"]
        assert list(titles()) == ["old", "new"]
    assert [decision.alias for decision in routed] == ["default", "replica1", "replica1", "default"]


def test_causal_with_a_transaction_around_each_view(paused, routed, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    writer = Client()
    writer.post("/plain/", {"title": "new"})
    assert shown(writer.get("/plain/")) == "old,new"
    catch_up(paused, 0)
    routed.clear()
    assert shown(writer.get("/plain/")) == "old,new"
    assert reasons(routed) == {("replica1", Reason.CAUSAL)}


def test_an_open_transaction_of_others_holds_nobody_up(cluster, routed):
    """A position must not cover what is not committed yet: no replica would ever reach it."""
    idle = connections["default"].copy("default")
    try:
        idle.set_autocommit(False)
        with idle.cursor() as cursor:
            cursor.execute("INSERT INTO app_book (title) VALUES ('never')")
        writer = Client()
        writer.post("/plain/", {"title": "new"})
        cluster.wait_all()
        routed.clear()
        assert shown(writer.get("/plain/")) == "old,new"
        assert {reason for _alias, reason in reasons(routed)} == {Reason.CAUSAL}
    finally:
        idle.rollback()
        idle.close()


def test_strong_sees_what_others_wrote(paused, routed, rwrouter):
    rwrouter(CONSISTENCY="strong")
    Client().post("/plain/", {"title": "new"})

    def read():
        routed.clear()
        assert shown(Client().get("/plain/")) == "old,new"
        return reasons(routed)

    assert read() == {("default", Reason.BEHIND)}
    catch_up(paused, 0)
    read_until(read, {("replica1", Reason.STRONG)}, lambda: catch_up(paused, 0))


def test_bounded(paused, routed):
    by_others(paused, "new")

    def seen(seconds):
        routed.clear()
        with routing_scope(safe=True), consistency("bounded", max_staleness=seconds):
            return list(titles()), *reasons(routed)

    assert seen(30) == (["old", "new"], ("default", Reason.BEHIND))
    catch_up(paused, 0)
    assert seen(30) == (["old", "new"], ("replica1", Reason.BOUNDED))
    time.sleep(0.3)
    # Level all the time, but who knows that now? The primary does.
    assert seen(0.2)[0] == ["old", "new"]


def by_others(cluster, title):
    """Write where this process does not see it."""
    connection = connections["default"]
    # MariaDB's and MySQL's administrator has no database selected.
    table = (
        "app_book" if connection.vendor == "postgresql" else f"{connection.settings_dict['NAME']}.app_book"
    )
    cluster.primary.sql(f"INSERT INTO {table} (title) VALUES ('{title}')")


def test_all_replicas_have_what_was_answered(cluster, rwrouter):
    rwrouter(CONSISTENCY="eventual", SYNC_REPLICAS="all", SYNC_TIMEOUT=20)
    for number in range(20):
        Client().post("/plain/", {"title": f"new{number}"})
        for alias in ("replica1", "replica2"):
            assert Book.objects.using(alias).filter(title=f"new{number}").exists()


def test_waiting_for_replicas_ends(paused, rwrouter, caplog):
    rwrouter(SYNC_REPLICAS=1, SYNC_TIMEOUT=0.3)
    began = time.monotonic()
    assert shown(Client().post("/plain/", {"title": "new"})) == "old,new"
    assert time.monotonic() - began >= 0.3
    assert "SYNC_TIMEOUT" in caplog.text


def test_waiting_for_a_replica_to_catch_up(paused, rwrouter, routed, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    # No wait is longer than half of the driver's own.
    for alias in REPLICAS:
        options = connections.settings[alias]["OPTIONS"]
        if "read_timeout" in options:
            monkeypatch.setitem(options, "read_timeout", 60)
    rwrouter(WAIT_TIMEOUT=20)
    writer = Client()
    writer.post("/plain/", {"title": "new"})
    routed.clear()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: [paused.resume(replica) for replica in paused.replicas])
        assert shown(writer.get("/plain/")) == "old,new"
    assert {reason for _alias, reason in reasons(routed)} == {Reason.CAUSAL}


def test_waiting_in_vain_comes_to_an_end(paused, rwrouter, monkeypatch):
    """Or each request of a client that wrote would be slow by that much while replicas are seconds late."""
    rwrouter(WAIT_TIMEOUT=1)
    writer = Client()
    writer.post("/plain/", {"title": "new"})
    seconds = []
    wait = waiting._wait

    def timed(*arguments):
        began = time.monotonic()
        there = wait(*arguments)
        seconds.append(time.monotonic() - began)
        return there

    monkeypatch.setattr(waiting, "_wait", timed)

    def waits():
        before = len(seconds)
        assert shown(writer.get("/plain/")) == "old,new"
        return len(seconds) > before

    assert [waits() for _ in range(waiting.VAIN_WAITS + 3)] == [True] * waiting.VAIN_WAITS + [False] * 3
    assert min(seconds) >= 1


@contextmanager
def asked(monkeypatch):
    """Count the statements of this package's own."""
    counted = []
    ask = asking.ask

    def counting(connection, question):
        counted.append(connection.alias)
        return ask(connection, question)

    with monkeypatch.context() as patched:
        for module in (asking, waiting):
            patched.setattr(module, "ask", counting)
        yield counted


def test_what_it_costs(cluster, monkeypatch, rwrouter):
    writer = Client()
    for alias in ("replica1", "replica2"):  # Open what will be used.
        Book.objects.using(alias).count()
    with asked(monkeypatch) as counted:
        writer.post("/plain/", {"title": "new"})
    assert counted == ["default"]
    cluster.wait_all()
    writer.get("/plain/")
    with asked(monkeypatch) as counted:
        for _ in range(20):
            assert shown(writer.get("/plain/")) == "old,new"
    assert counted == []
    rwrouter(CONSISTENCY="strong")
    Client().get("/plain/")

    def asked_by_a_read():
        with asked(monkeypatch) as counted:
            Client().get("/plain/")
        return counted

    read_until(asked_by_a_read, ["default"])


@pytest.mark.parametrize("replica_per", ["request", "query"])
def test_monotonic_reads(cluster, rwrouter, replica_per):
    rwrouter(CONSISTENCY="window", MONOTONIC_READS=True, REPLICA_PER=replica_per)
    cluster.pause(cluster.replicas[0])
    Book.objects.create(title="new")
    cluster.wait(cluster.replicas[1])
    for _ in range(10):
        reader, seen = Client(), 0
        for _ in range(5):
            count = len(shown(reader.get("/plain/")).split(","))
            assert count >= seen
            seen = count


def test_a_restarted_replica_is_asked_again(cluster, routed):
    writer = Client()
    writer.post("/plain/", {"title": "new"})
    cluster.wait_all()
    for _ in range(10):
        assert shown(writer.get("/plain/")) == "old,new"
    for replica in cluster.replicas:
        replica.kill()
        replica.start()
    connections["replica1"].close()
    connections["replica2"].close()
    for _ in range(10):
        assert shown(writer.get("/plain/")) == "old,new"


def test_a_token_from_elsewhere(paused):
    with routing_scope():
        Book.objects.create(title="new")
        token = current_token()
    catch_up(paused, 1)
    with routing_scope(safe=True, token=token):
        assert list(titles()) == ["old", "new"]
        assert titles().db == "replica2"
