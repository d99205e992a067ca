"""What is remembered while a request runs, and which block is in force where."""

import asyncio
import contextvars
import threading

import pytest

from django_rwrouter import untracked_writes, use_primary, use_replica
from django_rwrouter.scope import state as module
from django_rwrouter.scope.context import (
    current_block,
    current_scope,
    current_state,
    entered,
    in_any_state,
    silenced,
    writes_are_tracked,
)
from django_rwrouter.scope.state import BlockKind, RoutingState
from django_rwrouter.scope.token import EMPTY, Mark, Token

PRIMARY = use_primary()
REPLICA = use_replica()
SHOP_ONLY = use_primary(cluster="shop")


@pytest.fixture
def two_clusters(settings):
    settings.RWROUTER = {
        "CLUSTERS": {"shop": {"REPLICAS": ["replica1"]}, "blog": {"PRIMARY": "other", "MODELS": ["auth"]}}
    }


def kind(cluster="default"):
    block = current_block(cluster)
    return None if block is None else block.kind


# --- blocks ----------------------------------------------------------------------------------------


def test_the_innermost_block_is_in_force_and_each_end_restores():
    assert kind() is None
    with PRIMARY:
        with REPLICA:
            with PRIMARY:
                assert kind() is BlockKind.PRIMARY
            assert kind() is BlockKind.REPLICA
        assert kind() is BlockKind.PRIMARY
    assert kind() is None


def test_an_exception_restores():
    with pytest.raises(ZeroDivisionError), PRIMARY, REPLICA:
        raise ZeroDivisionError
    assert kind() is None


def test_a_block_for_one_cluster_leaves_the_others_to_the_blocks_around_it(two_clusters):
    with REPLICA, SHOP_ONLY:
        assert kind("shop") is BlockKind.PRIMARY
        assert kind("blog") is BlockKind.REPLICA
        with REPLICA:
            assert kind("shop") is BlockKind.REPLICA
    with SHOP_ONLY:
        assert kind("blog") is None


def test_a_block_is_not_seen_by_another_thread():
    seen = []
    with PRIMARY:
        thread = threading.Thread(target=lambda: seen.append(kind()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_tasks_of_one_gather_do_not_see_each_others_blocks(two_clusters):
    async def child(block, mine, other):
        with block:
            mine.set()
            await other.wait()
            await asyncio.sleep(0)
            return kind()

    async def parent():
        one, other = asyncio.Event(), asyncio.Event()
        with SHOP_ONLY:
            kinds = await asyncio.gather(child(PRIMARY, one, other), child(REPLICA, other, one))
            return kinds, kind("shop"), kind("blog")

    assert asyncio.run(parent()) == ([BlockKind.PRIMARY, BlockKind.REPLICA], BlockKind.PRIMARY, None)


def test_the_end_of_a_block_in_another_context_changes_nothing_there():
    """As asyncio does when it closes an async generator that was given up."""
    contextvars.copy_context().run(PRIMARY.__enter__)
    PRIMARY.__exit__(None, None, None)
    assert kind() is None
    with REPLICA:
        PRIMARY.__exit__(None, None, None)
        assert kind() is BlockKind.REPLICA
    assert kind() is None


def test_a_scope_ends_the_blocks_that_were_left_open_in_it():
    """A block that nobody ends must not send the next request of this thread to the primary."""

    def thread():
        with entered(RoutingState(safe=True)):
            PRIMARY.__enter__()
            assert kind() is BlockKind.PRIMARY
        left = kind()
        PRIMARY.__exit__(None, None, None)
        return left, kind()

    assert contextvars.copy_context().run(thread) == (None, None)


# --- scopes ----------------------------------------------------------------------------------------


def test_a_scope_is_in_force_until_its_end():
    state = RoutingState(safe=True)
    assert (current_scope(), in_any_state()) == (None, False)
    with entered(state):
        assert current_scope() is current_state() is state
        with entered(RoutingState(safe=False)):
            assert current_scope() is not state
        assert current_scope() is state
    assert (current_scope(), in_any_state()) == (None, False)


def test_an_exception_leaves_no_scope_behind():
    with pytest.raises(ZeroDivisionError), entered(RoutingState(safe=True)):
        raise ZeroDivisionError
    assert current_scope() is None


def test_outside_any_scope_nothing_is_remembered():
    assert current_state().outside
    current_state().note_write("default")
    assert not current_state().scope("default").wrote


def test_a_block_outside_any_scope_remembers_but_is_no_scope():
    with entered(RoutingState(safe=False, outside=True)):
        assert (current_scope(), in_any_state()) == (None, True)


def test_a_write_counts_for_every_scope_around():
    outermost = RoutingState(safe=True)
    middle = RoutingState(safe=True, outer=outermost)
    inner = RoutingState(safe=True, outer=middle)
    middle.note_write("shop")
    states = (outermost, middle, inner)
    assert [state.scope("shop").wrote for state in states] == [True, True, False]
    assert not outermost.scope("blog").wrote


def test_what_a_child_task_notes_is_seen_by_the_request():
    async def child():
        current_state().note_write("default")

    async def request():
        with entered(RoutingState(safe=True)) as state:
            await asyncio.gather(child(), asyncio.to_thread(current_state))
            return state.scope("default").wrote

    assert asyncio.run(request())


def test_what_a_thread_of_the_request_notes_is_seen_by_the_request():
    async def request():
        with entered(RoutingState(safe=True)) as state:
            await asyncio.to_thread(lambda: current_state().note_write("default"))
            return state.scope("default").wrote

    assert asyncio.run(request())


def test_a_number_of_a_thread_is_never_taken_for_another_thread():
    """CPython uses thread numbers again; the object that stands for a thread is kept by who asks."""
    marks = []
    for _run in range(20):
        thread = threading.Thread(target=lambda: marks.append(module.this_thread()))
        thread.start()
        thread.join()
    assert len(set(map(id, marks))) == 20


# --- the client's token ------------------------------------------------------------------------------


def test_the_token_is_looked_at_once_and_only_if_somebody_asks():
    looked = []

    def load():
        looked.append(1)
        return Token({"default": Mark(1.0)})

    state = RoutingState(safe=True)
    state.token, state.load_token = None, load
    assert looked == []
    assert state.known_token() == state.known_token() == Token({"default": Mark(1.0)})
    assert looked == [1]


def test_without_anything_to_look_at_there_is_no_token():
    state = RoutingState(safe=True)
    assert state.known_token() is EMPTY
    state.token = None
    assert state.known_token() is EMPTY


# --- what counts -------------------------------------------------------------------------------------


def test_untracked_writes_end_with_their_block():
    assert writes_are_tracked()
    with pytest.raises(ZeroDivisionError), untracked_writes():  # noqa: PT012
        with untracked_writes():
            assert not writes_are_tracked()
        assert not writes_are_tracked()
        raise ZeroDivisionError
    assert writes_are_tracked()


def test_our_own_statements_are_silent_and_leave_nothing_behind():
    with entered(RoutingState(safe=True)) as state:
        with silenced():
            assert current_state().silent
            current_state().note_write("default")
        assert current_state() is state
        assert not state.silent
        assert not state.scope("default").wrote
