"""Who has written reads from whatever replica has reached that write, and from the primary otherwise.

Replicas are paused, so that it is known exactly what each of them has.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from django.db import connections, transaction
from django.test import Client

from django_rwrouter import Reason, consistency, current_token, read_connection, restore_token, routing_scope
from django_rwrouter import databases as encoded
from django_rwrouter.conf.options import Lifetime
from django_rwrouter.databases.mariadb import MariaDBDriver, MariaDBPosition
from django_rwrouter.scope.token import decode
from django_rwrouter.servers import waiting
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.testing import assert_no_stale_reads
from tests.app.models import Book
from tests.asynchronous import Asynchronous
from tests.busy_clock import busy_clock
from tests.patience import until
from tests.servers.mariadb import settings as ours
from tests.servers.mariadb import views
from tests.servers.mariadb.general_log import recorded

ALL_WAYS = [*views.WAYS, *views.ASYNC_WAYS]
MARGIN = 1.0
"""Seconds that a busy machine may add."""


@pytest.fixture(autouse=True)
def causal(cluster, rwrouter):
    """The level, and a process that knows nothing yet."""
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.01)
    knowledge.reset()
    waiting.reset()
    for connection in connections.all(initialized_only=True):
        connection.close()
    yield
    knowledge.reset()
    waiting.reset()


@pytest.fixture(params=[Client, Asynchronous], ids=["client", "async_client"])
def new_client(request):
    return request.param


@pytest.fixture
def catch_up(lagging, administration):
    """``catch_up(0)`` lets the first replica go on until it is level, and pauses it there."""

    def catch_up(*numbers):
        for number in numbers or (0, 1):
            server = lagging.replicas[number]
            lagging.resume(server)
            lagging.wait(server)
            lagging.pause(server)

    return catch_up


def position_in(client):
    token, flaw = decode(
        client.cookies["rwrouter"].value, {"default": Lifetime(60, 60)}, time.time(), encoded.decode
    )
    assert flaw is None
    return token.marks["default"].position


def primary_position(cluster):
    return MariaDBPosition.decode(cluster.position())


def reasons(routed):
    return {(decision.alias, decision.reason) for decision in routed}


# --- every way of writing -----------------------------------------------------------------------


@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("method", ["post", "get"])
def test_a_paused_replica_is_not_read_until_it_has_the_write(
    lagging, catch_up, routed, new_client, method, way
):
    writer, other = new_client(), new_client()
    assert getattr(writer, method)(f"/{way}/", {"title": "new"}).content == b"old,new"
    # The position was taken after the commit, and it is the primary's very own.
    assert position_in(writer) == primary_position(lagging)
    routed.clear()
    assert writer.get("/orm/").content == b"old,new"
    assert reasons(routed) == {("default", Reason.BEHIND)}
    routed.clear()
    assert other.get("/orm/").content == b"old"
    assert routed[0].reason is Reason.CAUSAL

    catch_up(0)
    for _ in range(6):
        routed.clear()
        assert writer.get(f"/{way}/").content == b"old,new"
        assert reasons(routed) == {("replica1", Reason.CAUSAL)}
    catch_up(1)
    routed.clear()
    for _ in range(30):
        assert writer.get("/orm/").content == b"old,new"
    assert {decision.alias for decision in routed} <= {"replica1", "replica2"}


# Not possible inside a transaction, or not a part of it.
WITHOUT_TRANSACTION = {"autocommit-off", "thread"}


@pytest.mark.parametrize("way", [way for way in views.WAYS if way not in WITHOUT_TRANSACTION])
def test_with_a_transaction_around_each_view_too(lagging, catch_up, routed, monkeypatch, way):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    writer = Client()
    writer.post(f"/{way}/", {"title": "new"})
    assert position_in(writer) == primary_position(lagging)
    routed.clear()
    assert writer.get("/orm/").content == b"old,new"
    catch_up()
    routed.clear()
    assert writer.get("/orm/").content == b"old,new"
    assert {decision.reason for decision in routed} == {Reason.CAUSAL}


def test_a_page_that_is_streamed(lagging, catch_up, routed, new_client):
    writer = Client()
    assert writer.get("/stream/", {"title": "new"}).getvalue() == b"old,new,"
    routed.clear()
    assert writer.get("/stream/").getvalue() == b"old,new,"
    assert {decision.alias for decision in routed} == {"default"}
    catch_up()
    routed.clear()
    assert writer.get("/stream/").getvalue() == b"old,new,"
    assert {decision.reason for decision in routed} == {Reason.CAUSAL}


def test_a_write_of_others_meanwhile_does_no_harm(lagging, catch_up):
    """What the position covers besides costs time at most."""
    writer, other = Client(), Client()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(post_and_close, range(20)))
    writer.post("/orm/", {"title": "new"})
    catch_up(1)
    other.post("/orm/", {"title": "newer"})
    assert b"new" in writer.get("/orm/").content
    assert b"newer" not in writer.get("/orm/").content
    assert b"newer" in other.get("/orm/").content


def post_and_close(number):
    try:
        Client().post("/orm/", {"title": str(number)})
    finally:
        connections.close_all()


def test_under_eventual_the_next_request_misses_the_write(lagging, rwrouter):
    rwrouter(CONSISTENCY="eventual")
    writer = Client()
    assert writer.post("/orm/", {"title": "new"}).content == b"old,new"
    assert writer.get("/orm/").content == b"old"


def test_the_window_does_not_matter(lagging, catch_up, routed, clock):
    """Neither before it has closed, nor after."""
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    clock.advance(60)
    routed.clear()
    assert writer.get("/orm/").content == b"old,new"
    assert reasons(routed) == {("default", Reason.BEHIND)}
    catch_up(0)
    routed.clear()
    assert writer.get("/orm/").content == b"old,new"
    assert reasons(routed) == {("replica1", Reason.CAUSAL)}


@pytest.mark.parametrize("pin_seconds", [0.001, 0.2])
def test_a_short_window_promises_no_less(lagging, rwrouter, pin_seconds):
    """An answer of the primary's from before the write must not pass for another history."""
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.01, PIN_SECONDS=pin_seconds)
    writer, other = Client(), Client()
    for number in range(5):
        other.post("/orm/", {"title": f"other {number}"})
        title = f"new {number}"
        writer.post("/orm/", {"title": title})
        time.sleep(2 * pin_seconds)
        assert title in writer.get("/orm/").content.decode()


def test_a_token_life_below_the_window_pins_all_the_same(lagging, rwrouter, clock):
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.01, PIN_SECONDS=5, TOKEN_SECONDS=1)
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    clock.advance(2)
    assert writer.get("/orm/").content == b"old,new"


def test_after_its_life_a_token_binds_nobody(lagging, rwrouter, clock):
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.01, TOKEN_SECONDS=30)
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    clock.advance(29)
    assert writer.get("/orm/").content == b"old,new"
    clock.advance(2)
    assert writer.get("/orm/").content == b"old"


# --- round trips --------------------------------------------------------------------------------

POSITION_OF_PRIMARY = "SELECT @@GLOBAL.wsrep_on, @@GLOBAL.gtid_binlog_pos"


@pytest.fixture
def log(cluster, administration):
    with recorded(cluster, administration) as log:
        yield log


@pytest.fixture
def level(lagging, administration):
    """All servers have the book "old", and go on replicating."""
    administration.resume()
    administration.level()
    return lagging


def costs(level, log, rwrouter, visit, administration, times=1):
    """Return what each server is asked for a visit under a level, connections being open."""
    rwrouter(CONSISTENCY=level)
    for _ in range(20):  # So that both replicas are known.
        visit()
    administration.level()
    log.everything()
    for _ in range(times):
        visit()
    return log.everything()


@pytest.mark.parametrize("new_client", [Client], ids=["client"])
@pytest.mark.parametrize("way", ["orm", "atomic", "on-commit"])
def test_causal_adds_one_statement_to_a_request_that_wrote(
    level, log, rwrouter, administration, new_client, way
):
    def write():
        new_client().post(f"/{way}/", {"title": "new"})

    plain = costs("eventual", log, rwrouter, write, administration)
    causal = costs("causal", log, rwrouter, write, administration)
    assert sorted(causal[0]) == sorted([*plain[0], POSITION_OF_PRIMARY])
    assert causal[1:] == plain[1:] == [[], []]


def test_causal_adds_none_to_a_read_once_replicas_have_caught_up(level, log, rwrouter, administration):
    reader = Client()
    reader.post("/orm/", {"title": "new"})
    administration.level()
    for alias in ours.REPLICAS:  # Opening a connection takes statements of its own.
        Book.objects.using(alias).count()

    def read():
        assert reader.get("/orm/").content == b"old,new"

    for statements in costs("causal", log, rwrouter, read, administration, times=20):
        assert {text.split()[0] for text in statements} <= {"SELECT"}
        assert not [text for text in statements if "gtid" in text.lower()]
    # The first that learned it has asked, once.
    knowledge.reset()
    log.everything()
    read()
    [primary, *replicas] = log.everything()
    asked = [text for statements in replicas for text in statements if "gtid" in text]
    assert (primary, len(asked)) == ([], 1)
    rwrouter(CONSISTENCY="eventual")
    read()
    assert sum(map(len, log.everything())) == 1


@pytest.mark.parametrize("path", ["/orm/", "/twice/"])
def test_strong_adds_one_statement_to_a_request(level, log, rwrouter, administration, path):
    [primary, *_replicas] = costs(
        "strong", log, rwrouter, lambda: Client().get(path), administration, times=10
    )
    assert primary == [POSITION_OF_PRIMARY] * 10


def test_others_pay_nothing(level, log, rwrouter, administration):
    for name in ("eventual", "window"):
        found = costs(name, log, rwrouter, lambda: Client().get("/orm/"), administration, times=10)
        assert sum(map(len, found)) == 10


# --- waiting ------------------------------------------------------------------------------------


class Seconds(NamedTuple):
    at_least: float
    at_most: float
    """Without what a busy machine added."""


def timed(call):
    began, began_busily = time.monotonic(), busy_clock()
    result = call()
    return result, Seconds(time.monotonic() - began, busy_clock() - began_busily)


@pytest.mark.parametrize("path", ["/orm/", "/twice/"])
def test_with_all_replicas_paused_a_read_waits_so_long_and_no_longer(lagging, rwrouter, routed, path):
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.5)
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    routed.clear()
    _response, seconds = timed(lambda: writer.get(path))
    assert seconds.at_least >= 0.5
    assert seconds.at_most < 0.5 + MARGIN / 2
    assert reasons(routed) == {("default", Reason.BEHIND)}


def test_it_may_be_told_not_to_wait(lagging, rwrouter):
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0)
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    assert writer.get("/orm/").content == b"old,new"
    assert timed(lambda: writer.get("/orm/"))[1].at_most < MARGIN


def test_it_goes_on_as_soon_as_the_replica_has_caught_up(
    lagging, administration, rwrouter, routed, monkeypatch
):
    for alias in ours.REPLICAS:  # No wait is longer than half of the driver's own.
        monkeypatch.setitem(connections.settings[alias]["OPTIONS"], "read_timeout", 60)
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=20)
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    routed.clear()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(get_and_close, writer)
        # Only once it waits, so that waiting is what is seen.
        until(
            lambda: any(
                "MASTER_GTID_WAIT" in str(row["Info"])
                for server in lagging.replicas
                for row in administration.ask(server, "SHOW PROCESSLIST")
            )
        )
        administration.resume()
        assert reading.result() == b"old,new"
    [decision] = routed
    assert decision.reason is Reason.CAUSAL


def get_and_close(client, path="/orm/"):
    try:
        return client.get(path).content
    finally:
        connections.close_all()


def test_a_thousand_reads_at_once_do_not_queue(lagging, administration, rwrouter, monkeypatch):
    """A few wait, the others read from the primary at once; nobody opens more connections than it uses."""
    threads, reads = 30, 1000
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=1)
    lock, running, at_once = threading.Lock(), [], []
    wait = waiting._wait

    def watched(*arguments):
        with lock:
            running.append(arguments)
            at_once.append(len(running))
        try:
            return wait(*arguments)
        finally:
            with lock:
                running.pop()

    monkeypatch.setattr(waiting, "_wait", watched)
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    cookie = writer.cookies["rwrouter"].value

    def read(_number):
        reader = Client()
        reader.cookies["rwrouter"] = cookie
        assert reader.get("/orm/").content == b"old,new"

    def close(_number):
        time.sleep(0.01)  # So that each thread of the pool takes one of these.
        connections.close_all()

    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(reads)))
        total = time.monotonic() - began
        connected = [
            int(administration.ask(server, "SHOW STATUS LIKE 'Max_used_connections'")[0]["Value"])
            for server in lagging.servers
        ]
        list(pool.map(close, range(4 * threads)))
    assert 0 < max(at_once) <= waiting.MAX_WAITING
    # If each had waited for its turn, they would have taken reads / MAX_WAITING seconds: 125.
    assert total < 60
    assert max(connected) <= threads + 20


# --- strong, and others than the writer ---------------------------------------------------------


def test_strong_sees_what_anybody_wrote(lagging, catch_up, rwrouter, routed, new_client):
    rwrouter(CONSISTENCY="strong", WAIT_TIMEOUT=0.01)
    Client().post("/orm/", {"title": "new"})
    reader = new_client()
    routed.clear()
    assert reader.get("/orm/").content == b"old,new"
    assert reasons(routed) == {("default", Reason.BEHIND)}
    catch_up(1)
    routed.clear()
    assert reader.get("/orm/").content == b"old,new"
    assert reasons(routed) == {("replica2", Reason.STRONG)}
    assert "rwrouter" not in reader.cookies


def test_a_block_asks_again_each_time_it_is_entered(lagging, catch_up, routed):
    with routing_scope(safe=True):
        with consistency("strong"):
            assert list(views.titles()) == ["old"]
        as_root(lagging, "new")
        with consistency("strong"):
            assert list(views.titles()) == ["old", "new"]
        with consistency("causal"):
            assert Book.objects.count() in {1, 2}


def test_inside_one_block_the_floor_stays(lagging, routed):
    with routing_scope(safe=True), consistency("strong"):
        assert list(views.titles()) == ["old"]
        as_root(lagging, "new")
        assert list(views.titles()) == ["old"]
    assert {decision.reason for decision in routed} == {Reason.STRONG}


def as_root(cluster, title):
    """Somebody else writes."""
    cluster.primary.sql(f"INSERT INTO {ours.DATABASE}.app_book (title) VALUES ('{title}')")


def test_raw_sql_is_bound_like_the_rest(lagging, catch_up):
    with routing_scope(safe=True):
        Book.objects.create(title="new")
        token = current_token()
    for expected in ("default", "replica1"):
        with routing_scope(safe=True, token=token):
            assert read_connection().alias == expected
        catch_up(0)


def test_a_token_crosses_to_another_process(lagging, catch_up, routed):
    with routing_scope():
        Book.objects.create(title="new")
        with transaction.atomic():
            inside = current_token()
        token = current_token()
    with routing_scope(safe=True):
        restore_token(token)
        assert list(views.titles()) == ["old", "new"]
    catch_up(1)
    routed.clear()
    with routing_scope(safe=True, token=token):
        assert list(views.titles()) == ["old", "new"]
    with routing_scope(safe=True, token=inside):  # It carries the time alone.
        assert list(views.titles()) == ["old", "new"]
    assert reasons(routed) == {("replica2", Reason.CAUSAL), ("default", Reason.PINNED)}


def test_without_autocommit_asking_ends_nobodys_transaction(lagging, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", False)
    connections["default"].close()
    with routing_scope():
        Book.objects.create(title="new")
        current_token()
        transaction.commit()
        assert current_token()
        connections["default"].close()
    [row] = lagging.primary.sql(f"SELECT COUNT(*) FROM {ours.DATABASE}.app_book WHERE title = 'new'")
    assert row == ("1",)


# --- bounded ------------------------------------------------------------------------------------


def test_bounded_reads_from_replicas_that_are_fresh_enough(lagging, administration, catch_up, routed):
    as_root(lagging, "new")

    def seen(seconds):
        routed.clear()
        with routing_scope(safe=True), consistency("bounded", max_staleness=seconds):
            found = list(views.titles())
        [decision] = routed
        return found, decision.alias, decision.reason

    titles, alias, reason = seen(30)
    assert (titles, reason, alias != "default") == (["old"], Reason.BOUNDED, True)
    knowledge.reset()  # A process that has not seen them level trusts none of them.
    assert seen(30) == (["old", "new"], "default", Reason.BEHIND)
    catch_up(0)
    assert seen(30) == (["old", "new"], "replica1", Reason.BOUNDED)
    assert seen(30) == (["old", "new"], "replica1", Reason.BOUNDED)
    as_root(lagging, "newer")
    # It was level a moment ago: that is fresh enough for those who say so, and for nobody else.
    assert seen(30) == (["old", "new"], "replica1", Reason.BOUNDED)
    time.sleep(0.3)
    assert seen(0.2) == (["old", "new", "newer"], "default", Reason.BEHIND)
    catch_up(1)
    assert seen(0.2)[0] == ["old", "new", "newer"]


# --- monotonic reads ----------------------------------------------------------------------------


@pytest.fixture
def uneven(level):
    """The second replica has one book more than the first."""
    level.pause(level.replicas[0])
    as_root(level, "new")
    level.wait(level.replicas[1])
    return level


@pytest.mark.parametrize("base", ["window", "causal"])
@pytest.mark.parametrize("replica_per", ["request", "query"])
def test_who_has_seen_something_sees_it_for_ever(uneven, rwrouter, new_client, base, replica_per):
    rwrouter(CONSISTENCY=base, MONOTONIC_READS=True, REPLICA_PER=replica_per, WAIT_TIMEOUT=0.01)
    for _ in range(12):
        reader, seen = new_client(), 0
        for _ in range(5):
            counts = [int(count) for count in reader.get("/twice/").content.split(b",")]
            assert min(counts) >= seen
            seen = max(counts)


def test_without_it_time_goes_backwards(uneven, rwrouter):
    rwrouter(CONSISTENCY="window")
    reader = Client()
    assert {reader.get("/orm/").content for _ in range(40)} == {b"old", b"old,new"}


@pytest.mark.parametrize("base", ["window", "eventual", "strong"])
def test_who_has_seen_nothing_new_gets_no_cookie(level, rwrouter, base):
    rwrouter(CONSISTENCY=base, MONOTONIC_READS=True)
    reader = Client()
    reader.get("/orm/")
    assert reader.cookies["rwrouter"].value
    assert not [True for _ in range(5) if "rwrouter" in reader.get("/orm/").cookies]


def test_a_view_may_read_in_another_thread_or_close_its_connections(level, rwrouter, settings):
    from django.urls import path

    def close(request):
        found = list(views.titles())
        connections.close_all()
        return views.shown(found)

    rwrouter(CONSISTENCY="causal", MONOTONIC_READS=True)
    settings.ROOT_URLCONF = (path("close/", close),)
    assert Client().get("/close/").content == b"old"


# --- synchronous replicas -----------------------------------------------------------------------


def has(cluster, number, title):
    [row] = cluster.replicas[number].sql(
        f"SELECT COUNT(*) FROM {ours.DATABASE}.app_book WHERE title = '{title}'"
    )
    return row == ("1",)


def test_all_replicas_have_what_was_answered(level, rwrouter):
    rwrouter(CONSISTENCY="eventual", SYNC_REPLICAS="all", SYNC_TIMEOUT=10)
    for number in range(20):
        Client().post("/orm/", {"title": f"new {number}"})
        assert f"new {number}" in Client().get("/orm/").content.decode()
    assert has(level, 0, "new 19")
    assert has(level, 1, "new 19")


@pytest.mark.parametrize("paused", [0, 1])
def test_one_replica_is_enough_if_that_is_what_is_asked(level, rwrouter, paused):
    level.pause(level.replicas[paused])
    rwrouter(CONSISTENCY="eventual", SYNC_REPLICAS=1, SYNC_TIMEOUT=10)
    _response, seconds = timed(lambda: Client().post("/orm/", {"title": "new"}))
    assert seconds.at_most < MARGIN
    assert (has(level, paused, "new"), has(level, 1 - paused, "new")) == (False, True)


@pytest.mark.parametrize("wanted", [2, "all"])
def test_when_the_time_is_over_the_response_goes_out(lagging, rwrouter, caplog, wanted):
    rwrouter(CONSISTENCY="causal", SYNC_REPLICAS=wanted, SYNC_TIMEOUT=0.5, WAIT_TIMEOUT=0.01)
    writer = Client()
    response, seconds = timed(lambda: writer.post("/orm/", {"title": "new"}))
    assert (response.status_code, response.content) == (200, b"old,new")
    assert seconds.at_least >= 0.5
    assert seconds.at_most < 0.5 + MARGIN
    [record] = caplog.records
    assert "SYNC_TIMEOUT" in record.getMessage()
    assert writer.get("/orm/").content == b"old,new"


def test_a_dead_replica_makes_writing_no_slower(level, rwrouter, caplog):
    level.replicas[0].kill()
    rwrouter(CONSISTENCY="eventual", SYNC_REPLICAS=1, SYNC_TIMEOUT=5)
    for number in range(5):
        _response, seconds = timed(lambda: Client().post("/orm/", {"title": f"new {number}"}))  # noqa: B023
        assert seconds.at_most < MARGIN
    assert has(level, 1, "new 4")


def test_a_frozen_replica_costs_one_write_its_timeout(level, rwrouter, caplog):
    level.replicas[0].freeze()
    rwrouter(CONSISTENCY="eventual", SYNC_REPLICAS="all", SYNC_TIMEOUT=0.5)
    times = [timed(lambda: Client().post("/orm/", {"title": "new"}))[1].at_most for _ in range(4)]
    assert max(times) < ours.TIMEOUT + MARGIN
    assert sorted(times)[-2] < 0.5 + MARGIN / 2


# --- what is not known --------------------------------------------------------------------------


def refuse(*_arguments):
    import MySQLdb

    raise MySQLdb.OperationalError(1227, "no")


def test_without_a_position_the_window_is_what_is_left(lagging, catch_up, routed, monkeypatch, clock, caplog):
    monkeypatch.setattr(MariaDBDriver, "read_primary", refuse)
    writer = Client()
    assert writer.post("/orm/", {"title": "new"}).content == b"old,new"
    assert position_in(writer) is None
    routed.clear()
    assert writer.get("/orm/").content == b"old,new"
    assert reasons(routed) == {("default", Reason.PINNED)}
    clock.advance(6)
    assert writer.get("/orm/").content == b"old"
    assert "refuses to tell its position" in caplog.text


def test_strong_reads_the_primary_then(lagging, routed, rwrouter, monkeypatch, caplog):
    rwrouter(CONSISTENCY="strong")
    monkeypatch.setattr(MariaDBDriver, "read_primary", refuse)
    assert Client().get("/orm/").content == b"old"
    assert reasons(routed) == {("default", Reason.NO_POSITION)}


def test_a_replica_that_refuses_to_say_where_it_is_has_no_bound_read(lagging, routed, monkeypatch, caplog):
    monkeypatch.setattr(MariaDBDriver, "read_replica", refuse)
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    routed.clear()
    assert writer.get("/orm/").content == b"old,new"
    assert reasons(routed) == {("default", Reason.BEHIND)}


# --- several servers behind one name ------------------------------------------------------------


@pytest.fixture
def reader_endpoint(lagging, rwrouter, catch_up):
    """The alias ``replica1`` reaches the server that it is told to; the second has the past alone."""
    rwrouter(CONSISTENCY="causal", REPLICAS=["replica1"], WAIT_TIMEOUT=0.01)
    address = connections["replica1"].settings_dict
    usual = address["PORT"]

    def lead_to(number):
        address["PORT"] = str(lagging.replicas[number].port)

    yield lead_to
    address["PORT"] = usual
    connections["replica1"].close()


def test_what_is_known_of_one_server_is_not_known_of_the_other(reader_endpoint, catch_up, routed):
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    catch_up(0)
    for number, alias, reason in [(0, "replica1", Reason.CAUSAL), (1, "default", Reason.BEHIND)] * 3:
        reader_endpoint(number)
        connections["replica1"].close()
        routed.clear()
        assert writer.get("/orm/").content == b"old,new"
        assert reasons(routed) == {(alias, reason)}


def test_nor_in_the_middle_of_a_scope(reader_endpoint, catch_up):
    with routing_scope(safe=True):
        Book.objects.create(title="new")
        token = current_token()
    catch_up(0)
    with routing_scope(safe=True, token=token):
        assert list(views.titles()) == ["old", "new"]
        reader_endpoint(1)
        connections["replica1"].close()
        assert list(views.titles()) == ["old", "new"]
        assert list(views.titles()) == ["old", "new"]


def test_nor_under_strong(reader_endpoint, catch_up, rwrouter):
    as_root_title = "new"
    Book.objects.create(title=as_root_title)
    catch_up(0)
    with routing_scope(safe=True), consistency("strong"):
        assert list(views.titles()) == ["old", "new"]
        reader_endpoint(1)
        connections["replica1"].close()
        assert list(views.titles()) == ["old", "new"]


def test_a_restarted_server_is_asked_again(lagging, catch_up, routed, health_clock):
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    catch_up(0)
    assert writer.get("/orm/").content == b"old,new"
    lagging.replicas[0].kill()
    lagging.replicas[0].start()
    lagging.wait(lagging.replicas[0])
    connections["replica1"].close()
    routed.clear()
    assert writer.get("/orm/").content == b"old,new"


def test_a_snapshot_that_is_older_than_the_position_is_not_used(lagging, catch_up, rwrouter):
    """InnoDB shows what was there at the first read of a transaction, wherever the replica is by now."""
    rwrouter(CONSISTENCY="causal", REPLICAS=["replica1"], WAIT_TIMEOUT=0.01)
    with routing_scope(safe=True):
        Book.objects.create(title="new")
        token = current_token()
    with routing_scope(safe=True, token=token), transaction.atomic(using="replica1"):
        with consistency("eventual"):
            assert list(views.titles()) == ["old"]
        catch_up(0)
        assert list(views.titles()) == ["old", "new"]


# --- the auditor --------------------------------------------------------------------------------


def test_the_auditor_excuses_what_has_reached(lagging, catch_up):
    writer = Client()
    with assert_no_stale_reads():
        writer.post("/orm/", {"title": "new"})
        writer.get("/orm/")
        catch_up()
        writer.get("/orm/")


def write_and_read_anything():
    writer = Client()
    with assert_no_stale_reads():
        writer.post("/orm/", {"title": "new"})
        with consistency("eventual"):
            writer.get("/orm/")


def test_the_auditor_finds_what_has_not(lagging):
    with pytest.raises(AssertionError, match="may miss"):
        write_and_read_anything()
