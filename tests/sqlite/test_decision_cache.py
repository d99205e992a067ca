"""A decision holds for the reads that follow, until something changes that it rests on."""

import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.db import connections, router, transaction
from django.db.migrations.state import ProjectState
from django.test import override_settings
from django.test.testcases import _DatabaseFailure

from django_rwrouter import (
    consistency,
    current_token,
    mark_written,
    read_connection,
    restore_token,
    routing_scope,
    use_primary,
    use_replica,
)
from django_rwrouter.router import ReadWriteRouter
from django_rwrouter.routing import decide, decision_cache
from django_rwrouter.scope.context import current_state, in_force
from django_rwrouter.scope.token import Mark, Token
from django_rwrouter.servers.health import health
from tests.app.models import Author, Book, Note, Shelf, Tag
from tests.sqlite.conftest import reason, replicate

pytestmark = pytest.mark.usefixtures("databases")


@pytest.fixture
def decided(monkeypatch):
    """Count how often the engine decides."""
    found = []
    decide_one = decide._decide

    def counted(route, *args):
        decision = decide_one(route, *args)
        found.append(decision)
        return decision

    monkeypatch.setattr(decide, "_decide", counted)
    return found


def read(model=Book):
    return router.db_for_read(model)


@contextmanager
def scope(*, safe=True):
    """A scope in which one read of a book has been decided."""
    with routing_scope(safe=safe):
        read()
        yield


@pytest.mark.parametrize("level", ["primary", "eventual", "window", "causal", "strong"])
def test_the_next_read_is_not_decided_again(settings, decided, level):
    settings.RWROUTER = settings.RWROUTER | {"CONSISTENCY": level}
    with scope():
        alias = read()
        decided.clear()
        assert {read() for _ in range(20)} == {alias}
    assert decided == []


@pytest.mark.parametrize("safe", [True, False])
def test_nor_in_a_transaction_nor_after_a_write(decided, safe):
    with scope(safe=safe):
        with transaction.atomic():
            read()
            decided.clear()
            assert read() == "default"
            assert decided == []
        mark_written()
        read()
        decided.clear()
        assert read() == "default"
        assert decided == []


def another_block(stack):
    stack.enter_context(consistency("eventual"))


def a_block_for_the_primary(stack):
    stack.enter_context(use_primary())


def a_transaction(stack):
    stack.enter_context(transaction.atomic())


def a_write(_stack):
    Book.objects.create(title="new")


def a_write_of_a_scope_inside(stack):
    with routing_scope():
        Book.objects.create(title="new")


def a_token(stack):
    with routing_scope():
        Book.objects.create(title="new")
        token = current_token()
    in_force().state.clusters.clear()  # It is told of the write by the token alone.
    restore_token(token)


def a_dead_replica(_stack):
    health.failed(read())


def a_drained_replica(_stack):
    health.set_drained([(read(), 0.0, "")])


def a_kill_switch(_stack):
    health.set_off(frozenset({"default"}))


def a_look_of_the_monitor(_stack):
    health.watch(0.0)


def a_closed_connection(_stack):
    connections[read()].close()


def a_transaction_by_hand(stack):
    stack.callback(transaction.set_autocommit, True)
    transaction.set_autocommit(False)


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (another_block, "eventual"),
        (a_block_for_the_primary, "use_primary"),
        (a_transaction, "in_transaction"),
        (a_transaction_by_hand, "in_transaction"),
        (a_write, "wrote_in_scope"),
        (a_write_of_a_scope_inside, "wrote_in_scope"),
        (a_token, "pinned"),
        (a_dead_replica, "window"),
        (a_drained_replica, "window"),
        (a_kill_switch, "disabled"),
        (a_look_of_the_monitor, "window"),
        (a_closed_connection, "window"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("model", [Book, Tag], ids=["the same model", "another model"])
def test_it_is_decided_again_after(decided, change, after, model):
    with scope(), ExitStack() as stack:
        change(stack)
        decided.clear()
        assert reason(model) == after
    assert decided


def test_it_is_decided_again_when_a_block_ends(decided):
    with scope():
        with use_primary():
            assert read() == "default"
        assert read() != "default"


def test_another_thread_decides_for_itself(decided):
    """Its connections are its own: here it is in a transaction, and there it is not."""
    found = []

    def run(state_and_block):
        state_and_block.run(lambda: found.append(read_in_transaction()))

    def read_in_transaction():
        try:
            with transaction.atomic():
                return read()
        finally:
            connections.close_all()

    with scope():
        assert read() != "default"
        thread = threading.Thread(target=run, args=(contextvars.copy_context(),))
        thread.start()
        thread.join()
    assert found == ["default"]


def test_a_model_like_any_other_goes_where_the_one_before_it_went(decided, routed):
    with scope():
        decided.clear()
        list(Tag.objects.all())
        assert decided == []
        assert [(decision.model, decision.reason.value) for decision in routed] == [(Tag, "window")]
        assert routed[0].alias == read()


def test_what_is_read_along_an_object_from_the_replica_goes_there_too(decided, routed):
    Book.objects.create(title="told", author=Author.objects.create(name="teller"))
    replicate()
    with scope():
        book = Book.objects.get()
        decided.clear()
        assert book.author.name == "teller"
        assert [book.title for book in book.author.books.all()] == ["told"]
        assert decided == []
    reads = [(decision.model, decision.alias) for decision in routed[2:]]
    assert reads == [(model, book._state.db) for model in (Book, Author, Book)]


@pytest.mark.parametrize("origin", ["default", "another replica", None])
def test_along_an_object_from_elsewhere_it_is_decided_again(decided, origin):
    with scope():
        [other] = {"replica1", "replica2"} - {read()}
        book = Book(title="strayed")
        book._state.db = other if origin == "another replica" else origin
        decided.clear()
        router.db_for_read(Author, instance=book)
    assert decided


def test_along_an_object_with_generic_relations_it_is_decided_again(decided):
    with scope():
        shelf = Shelf()
        shelf._state.db = read()
        decided.clear()
        router.db_for_read(Note, instance=shelf)
    assert decided


@pytest.mark.parametrize(
    "named",
    [{"PRIMARY_ONLY": ["app.Tag"]}, {"REPLICAS": {"replica1": {}, "replica2": {"EXCEPT": ["app.Tag"]}}}],
)
def test_a_model_that_the_settings_name_is_decided_for_itself(settings, decided, named):
    settings.RWROUTER = settings.RWROUTER | named
    with scope():
        decided.clear()
        read(Tag)
        assert decided
        decided.clear()
        read()
        assert decided == []


def test_another_model_of_another_cluster_is_decided_for_itself(settings, decided):
    replicas = {"PRIMARY": "replica1", "REPLICAS": ["replica2"]}
    settings.RWROUTER = {
        "CLUSTERS": {
            "tags": {**replicas, "MODELS": ["app.Tag"]},
            "others": {"PRIMARY": "default", "REPLICAS": []},
        }
    }
    with scope():
        assert read(Tag) == "replica2"


def test_each_query_draws_anew_if_so_configured(settings):
    settings.RWROUTER = settings.RWROUTER | {"REPLICA_PER": "query"}
    with scope():
        assert {read() for _ in range(60)} == {"replica1", "replica2"}


def test_a_settled_read_is_announced_to_its_statement(routed):
    with scope():
        for _ in range(3):
            list(Book.objects.all())
    assert [decision.reason.value for decision in routed] == ["window"] * 3


def test_shadow_is_decided_each_time(settings, decided):
    settings.RWROUTER = settings.RWROUTER | {"ENABLED": "shadow"}
    with scope():
        decided.clear()
        assert read() == "default"
    assert decided


def test_a_change_of_the_settings_ends_it_within_a_scope(settings):
    with scope():
        assert read() != "default"
        settings.RWROUTER = settings.RWROUTER | {"CONSISTENCY": "primary"}
        assert reason() == "level_primary"


# --- what changes while a read is being decided ------------------------------------------------------


def write_elsewhere():
    """Write in another thread of the same scope."""

    def write():
        Book.objects.create(title="new")
        connections.close_all()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(write,))
    thread.start()
    thread.join()


def throw_the_kill_switch():
    health.set_off(frozenset({"default"}))


def bring_a_token():
    current_state().add_token(Token({"default": Mark(time.time())}))


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (write_elsewhere, "wrote_in_scope"),
        (throw_the_kill_switch, "disabled"),
        (bring_a_token, "pinned"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("read_before", [False, True], ids=["the first read", "like another model"])
def test_a_change_while_a_read_is_decided_is_not_forgotten(monkeypatch, change, after, read_before):
    place, name = (decision_cache, "_as_another") if read_before else (decide, "_decide")
    original = getattr(place, name)

    def interrupted(*args):
        result = original(*args)
        monkeypatch.undo()
        change()
        return result

    with routing_scope(safe=True):
        if read_before:
            read(Tag)
        monkeypatch.setattr(place, name, interrupted)
        read()
        assert reason() == after


# --- outside any scope -------------------------------------------------------------------------------


def test_outside_the_next_read_is_not_decided_again(decided):
    read()
    decided.clear()
    assert {read() for _ in range(20)} == {"default"}
    assert decided == []


@pytest.mark.parametrize("block", [use_replica, use_primary, lambda: consistency("eventual")])
def test_nor_in_a_block_outside(decided, block):
    with block():
        alias = read()
        decided.clear()
        assert {read() for _ in range(20)} == {alias}
    assert decided == []


def a_block_for_a_replica(stack):
    stack.enter_context(use_replica())


def other_settings(stack):
    changed = django_settings.RWROUTER | {"OUTSIDE_REQUEST": "replica"}
    stack.enter_context(override_settings(RWROUTER=changed))


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (another_block, "eventual"),
        (a_block_for_the_primary, "use_primary"),
        (a_block_for_a_replica, "use_replica"),
        (a_transaction, "in_transaction"),
        (a_transaction_by_hand, "in_transaction"),
        (a_write, "outside_scope"),
        (a_kill_switch, "disabled"),
        (other_settings, "outside_replica"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_outside_it_is_decided_again_after(decided, change, after):
    read()
    with ExitStack() as stack:
        change(stack)
        decided.clear()
        assert reason() == after
    assert decided
    health.set_off(frozenset())
    assert reason() == "outside_scope"


def test_with_the_kill_switch_thrown_nothing_is_decided_again(settings, decided):
    settings.RWROUTER = settings.RWROUTER | {"ENABLED": False}
    read()
    decided.clear()
    assert read() == "default"
    assert decided == []
    settings.RWROUTER = settings.RWROUTER | {"ENABLED": True}
    assert reason() == "outside_scope"


def test_outside_a_replica_is_drawn_for_each_read(settings, decided):
    settings.RWROUTER = settings.RWROUTER | {"OUTSIDE_REQUEST": "replica"}
    assert {read() for _ in range(60)} == {"replica1", "replica2"}


def test_what_holds_outside_does_not_hold_in_a_scope_nor_what_held_in_it_outside(decided):
    assert read() == "default"
    with scope():
        assert read() != "default"
    assert read() == "default"
    assert reason() == "outside_scope"


def test_raw_connections_are_decided_each_time(decided):
    with scope():
        read_connection()
        decided.clear()
        read_connection()
    assert decided


def test_a_pin_ends_in_time(settings, monkeypatch):
    settings.RWROUTER = settings.RWROUTER | {"PIN_SECONDS": 5}
    now = [1000.0]
    monkeypatch.setattr("django_rwrouter.routing.decision_cache.monotonic", lambda: now[0])
    with routing_scope():
        Book.objects.create(title="new")
        token = current_token()
    with routing_scope(safe=True, token=token):
        assert read() == "default"
        _decision, _table, basis = in_force().state.settled[Book]
        until = basis.until
        assert 1004.0 < until <= 1005.0
        now[0] = until
        monkeypatch.setattr("django_rwrouter.routing.decide.time.time", lambda: 4e9)
        assert read() != "default"


# --- writes ------------------------------------------------------------------------------------------


@pytest.fixture
def decided_writes(monkeypatch):
    """Count how often a write is decided."""
    found = []

    decide_write = decision_cache._decide_write

    def decide(route, state):
        found.append(route.model)
        return decide_write(route, state)

    monkeypatch.setattr(decision_cache, "_decide_write", decide)
    return found


@pytest.fixture(params=[routing_scope, nullcontext], ids=["in a scope", "outside"])
def anywhere(request, databases):
    with request.param():
        yield


@pytest.mark.usefixtures("anywhere")
def test_the_next_write_is_not_decided_again(decided_writes):
    router.db_for_write(Book)
    book = Book(title="new")
    decided_writes.clear()
    assert {router.db_for_write(Book) for _ in range(20)} == {"default"}
    book.save()
    book.save()
    assert decided_writes == []


@pytest.mark.usefixtures("anywhere")
def test_a_write_that_was_not_decided_again_is_announced_all_the_same(routed):
    for _ in range(3):
        Book.objects.create(title="new")
    assert [decision.reason.value for decision in routed] == ["write"] * 3
    assert {decision.model for decision in routed} == {Book}


@pytest.mark.usefixtures("anywhere")
def test_the_newest_write_is_announced_last():
    for model in (Book, Tag, Book):
        router.db_for_write(model)
    assert list(current_state().announced_writes["default"])[-2:] == [Tag._meta.db_table, Book._meta.db_table]


@pytest.mark.usefixtures("anywhere")
def test_the_write_of_an_object_from_elsewhere_is_not_ours():
    router.db_for_write(Book)
    assert router.db_for_write(Book, instance=Book()) == "default"
    stranger = Book()
    stranger._state.db = "other"
    assert ReadWriteRouter.db_for_write(Book, instance=stranger) is None


@pytest.mark.usefixtures("anywhere")
def test_another_thread_decides_its_writes_for_itself(decided_writes):
    """So that the hook is on its connection, too."""
    router.db_for_write(Book)
    decided_writes.clear()

    def run():
        try:
            router.db_for_write(Book)
        finally:
            connections.close_all()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    thread.join()
    assert decided_writes == [Book]


@pytest.mark.usefixtures("anywhere")
def test_writes_are_decided_again_after_a_change_of_the_settings(settings):
    assert router.db_for_write(Book) == "default"
    settings.RWROUTER = {"PRIMARY": "replica2", "REPLICAS": ["replica1"]}
    assert router.db_for_write(Book) == "replica2"


@pytest.mark.usefixtures("anywhere")
def test_what_is_made_anew_each_time_is_not_kept():
    historical = ProjectState.from_apps(apps).apps.get_model("app", "Book")
    assert router.db_for_write(historical) == "default"
    assert historical not in current_state().settled_writes


def test_nor_is_a_read_of_it_while_the_kill_switch_is_thrown():
    health.set_off(frozenset({"default"}))
    historical = ProjectState.from_apps(apps).apps.get_model("app", "Book")
    assert router.db_for_read(historical) == "default"
    assert historical not in current_state().settled


def test_another_connection_to_the_primary_is_looked_at_from_the_next_scope_on():
    """Tests share an open connection with a worker thread that has had one of its own."""

    def decide(shared=None):
        own = connections["default"]
        if shared is None:
            with routing_scope(safe=True):
                return reason()
        connections["default"] = shared
        try:
            with routing_scope(safe=True), transaction.atomic():
                return reason()
        finally:
            connections["default"] = own
            connections.close_all()

    main = connections["default"]
    main.ensure_connection()
    main.inc_thread_sharing()
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(decide).result() == "window"
            assert pool.submit(decide, main).result() == "in_transaction"
    finally:
        main.dec_thread_sharing()


def test_a_connection_made_anew_in_a_scope_has_its_transactions_seen():
    with routing_scope(safe=True):
        assert reason() == "window"
        connections["default"].close()
        del connections["default"]
        with transaction.atomic():
            assert reason() == "in_transaction"


def test_a_connection_that_has_to_be_checked_is_not_used_unchecked(decided, monkeypatch):
    """Django would ping it under the user's read, where nothing moves on from a dead server."""
    for alias in ("replica1", "replica2"):
        connections[alias].ensure_connection()
        monkeypatch.setattr(connections[alias], "health_check_enabled", True)
    with scope():
        connection = connections[read()]
        decided.clear()
        read()
        assert not decided
        connection.health_check_done = False  # As Django leaves it between two requests.
        read()
    assert len(decided) == 1


def test_a_connection_that_a_test_case_of_djangos_has_given_back_is_used_as_before(decided, monkeypatch):
    """Django takes what disarms a connection away by setting its own method on it."""
    with scope():
        decided.clear()
        connection = connections[read()]
        monkeypatch.setitem(connection.__dict__, "cursor", connection.cursor)
        read()
        assert decided == []
        failure = _DatabaseFailure(connection.cursor, "not in databases")
        monkeypatch.setitem(connection.__dict__, "cursor", failure)
        read()
    assert len(decided) == 1
