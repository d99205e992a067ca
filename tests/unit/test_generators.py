"""Blocks and scopes that a generator opens: in force during its steps, and not while its consumer runs."""

import asyncio
import contextlib
import contextvars
import gc
import threading

import pytest
from asgiref.sync import sync_to_async

from django_rwrouter import routing_scope, untracked_writes, use_primary, use_replica
from django_rwrouter.scope.context import (
    Isolation,
    current_block,
    current_scope,
    entered,
    in_force,
    writes_are_tracked,
)
from django_rwrouter.scope.generators import GeneratorRegions
from django_rwrouter.scope.state import BlockKind, RoutingState


@pytest.fixture(autouse=True)
def isolated():
    with Isolation():
        yield


def kind():
    block = current_block("default")
    return None if block is None else block.kind


def generator(region=use_replica, steps=3):
    with region():
        for _step in range(steps):
            yield kind()


async def async_generator(region=use_replica, steps=3):
    with region():
        for _step in range(steps):
            await asyncio.sleep(0)
            yield await sync_to_async(kind)()


# --- steps -------------------------------------------------------------------------------------------


def test_a_block_holds_for_each_step_and_not_in_between():
    steps = generator()
    assert [(next(steps), kind()) for _step in range(3)] == [(BlockKind.REPLICA, None)] * 3
    assert (list(steps), kind()) == ([], None)


@pytest.mark.parametrize("outer", [use_primary, use_replica], ids=lambda region: region.__name__)
def test_a_block_holds_whatever_block_its_consumer_is_in(outer):
    steps = generator(use_primary)
    with outer():
        assert next(steps) is BlockKind.PRIMARY
        around = kind()
        with use_replica():
            assert next(steps) is BlockKind.PRIMARY
            assert kind() is BlockKind.REPLICA
        assert (next(steps), kind()) == (BlockKind.PRIMARY, around)
        assert list(steps) == []
        assert kind() is around
    assert kind() is None


def test_what_a_step_calls_opens_blocks_inside_its_own():
    def inner():
        with use_replica():
            return kind()

    def steps():
        with use_primary():
            yield inner(), kind()
            yield inner(), kind()

    expected = (BlockKind.REPLICA, BlockKind.PRIMARY)
    assert [(step, kind()) for step in steps()] == [(expected, None)] * 2


def test_generators_inside_each_other_have_their_own():
    def outer():
        with use_primary():
            for step in generator():
                yield step, kind()

    def delegating():
        with use_primary():
            yield from generator()
            yield kind()

    replica, primary = BlockKind.REPLICA, BlockKind.PRIMARY
    assert [(step, kind()) for step in outer()] == [((replica, primary), None)] * 3
    assert [(step, kind()) for step in delegating()] == [*[(replica, None)] * 3, (primary, None)]


def test_two_generators_taken_by_turns_have_their_own():
    pairs = zip(generator(use_primary), generator(use_replica), strict=True)
    assert [(pair, kind()) for pair in pairs] == [((BlockKind.PRIMARY, BlockKind.REPLICA), None)] * 3


def test_a_generator_that_ends_in_another_block_leaves_that_in_force():
    steps = generator()
    next(steps)
    with use_primary():
        steps.close()
        assert kind() is BlockKind.PRIMARY
    assert kind() is None
    assert in_force().block is None


def test_a_block_outlives_the_one_in_which_its_generator_began():
    with use_replica():
        steps = generator(use_primary)
        assert next(steps) is BlockKind.PRIMARY
    assert (next(steps), kind()) == (BlockKind.PRIMARY, None)
    with routing_scope():
        assert (next(steps), kind()) == (BlockKind.PRIMARY, None)
    assert (list(steps), kind()) == ([], None)
    assert in_force().block is None


def test_a_generator_that_fails_leaves_nothing():
    def failing():
        with use_primary():
            yield
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(failing())
    assert in_force().block is None


def test_the_same_for_scopes_and_untracked_writes():
    def steps():
        with routing_scope(safe=True), untracked_writes():
            for _step in range(2):
                yield current_scope(), writes_are_tracked()

    outer = RoutingState(safe=False)
    with entered(outer):
        (first, _), (second, tracked) = [(step, current_scope()) for step in steps()]
        assert (first[0].safe, first[1], second[0] is first[0]) == (True, False, True)
        assert tracked is outer
        assert writes_are_tracked()
        assert current_scope() is outer


def test_a_request_made_in_a_step_is_a_scope_of_its_own():
    state = RoutingState(safe=True)

    def steps():
        with routing_scope(), use_primary():
            with entered(state):
                yield current_scope(), kind()
            yield current_scope(), kind()

    first, second = steps()
    assert first == (state, BlockKind.PRIMARY)
    assert (second[0] is state, second[1]) == (False, BlockKind.PRIMARY)


def test_a_block_through_a_stack_or_a_manager_is_the_generators_as_well():
    @contextlib.contextmanager
    def managed():
        with use_primary():
            yield

    class Managed:
        def __enter__(self):
            self.block = use_primary()
            self.block.__enter__()

        def __exit__(self, *error):
            self.block.__exit__(*error)

    def through(manager):
        with contextlib.ExitStack() as stack:
            stack.enter_context(manager())
            yield kind()
            yield kind()

    for manager in (use_primary, managed, Managed):
        assert [(step, kind()) for step in through(manager)] == [(BlockKind.PRIMARY, None)] * 2
    assert in_force().block is None


# --- managers that are generators --------------------------------------------------------------------


def test_a_context_manager_made_of_a_generator_holds_for_its_block():
    @contextlib.contextmanager
    def managed():
        with use_primary():
            yield

    @contextlib.asynccontextmanager
    async def awaited():
        with use_replica():
            yield

    async def main():
        async with awaited():
            return kind(), await sync_to_async(kind)()

    with managed():
        assert kind() is BlockKind.PRIMARY
        assert asyncio.run(main()) == (BlockKind.REPLICA, BlockKind.REPLICA)
    assert kind() is None


@pytest.fixture
def on_the_primary():
    with use_primary():
        yield


def test_a_fixture_holds_for_its_test(on_the_primary):
    assert kind() is BlockKind.PRIMARY


# --- async -------------------------------------------------------------------------------------------


def test_an_async_generator_has_its_block_in_each_step_and_in_threads_of_it():
    async def main():
        return [(step, kind(), await sync_to_async(kind)()) async for step in async_generator()]

    assert asyncio.run(main()) == [(BlockKind.REPLICA, None, None)] * 3


def test_an_async_generator_that_is_left_early_leaves_nothing():
    async def main():
        async for step in async_generator():
            assert step is BlockKind.REPLICA
            break
        left = kind(), await sync_to_async(kind)()
        gc.collect()
        await asyncio.sleep(0.01)  # The event loop closes the generator.
        with use_primary():
            return left, kind(), await asyncio.create_task(asyncio.sleep(0, kind()))

    assert asyncio.run(main()) == ((None, None), BlockKind.PRIMARY, BlockKind.PRIMARY)


def test_generators_left_by_a_loop_do_not_pile_up():
    async def main():
        for _turn in range(50):
            async for _step in async_generator():
                break
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        present = in_force().block
        return len(present.regions) if isinstance(present, GeneratorRegions) else 0

    assert asyncio.run(main()) <= 10


def test_a_generator_stepped_in_another_context_has_its_own():
    steps = generator()
    assert contextvars.copy_context().run(next, steps) is BlockKind.REPLICA
    assert kind() is None
    steps.close()
    assert kind() is None


# --- what a step starts, and what outlives it ----------------------------------------------------------


async def until(event):
    assert await asyncio.to_thread(event.wait, 30)


async def in_a_task(run):
    await asyncio.create_task(run())


async def in_a_gathered_task(run):
    await asyncio.gather(run(), asyncio.sleep(0))


async def in_a_thread(run):
    await sync_to_async(lambda: asyncio.run(run()), thread_sensitive=False)()


@pytest.mark.parametrize(
    "start", [in_a_task, in_a_gathered_task, in_a_thread], ids=lambda start: start.__name__
)
@pytest.mark.parametrize("around", [use_replica, None], ids=["inside a block", "after a block"])
def test_a_block_of_what_a_step_has_started_outlives_the_step(start, around):
    """Entered while the step awaits or is over; it holds while the generator is left, and steps on."""

    stepped, entered, looked, left = (threading.Event() for _ in range(4))
    seen = []

    async def run():
        if around is None:
            await until(stepped)
        with use_primary():
            seen.append(kind())
            entered.set()
            await until(stepped)
            seen.append(kind())
            looked.set()
            await until(left)
            seen.append(kind())
            with use_replica():
                seen.append(kind())
        seen.append(kind())

    async def steps():
        with use_replica():
            task = asyncio.ensure_future(start(run))
            if around is not None:
                await until(entered)
            yield
            left.set()
            await task
            yield

    async def main():
        generator = steps()
        await anext(generator)
        stepped.set()
        await until(looked)
        await anext(generator)
        await generator.aclose()

    asyncio.run(main())
    replica, primary = BlockKind.REPLICA, BlockKind.PRIMARY
    assert seen == [primary, primary, primary, replica, replica]


def test_a_thread_that_a_step_has_started_keeps_its_block():
    entered, left = threading.Event(), threading.Event()
    seen = []

    def run():
        with use_primary():
            entered.set()
            left.wait()
            seen.append(kind())
        seen.append(kind())

    def steps():
        with use_replica():
            thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
            thread.start()
            entered.wait()
            yield thread

    generator = steps()
    thread = next(generator)
    left.set()
    thread.join()
    generator.close()
    assert seen == [BlockKind.PRIMARY, None]


def test_generators_of_a_task_that_a_step_has_started_are_its_own():
    async def run():
        inner = generator(use_primary)
        seen = [next(inner)]
        with use_replica():
            seen.append(next(inner))
            seen.append(kind())
        seen.append(next(inner))
        with use_replica():
            inner.close()
            return [*seen, kind()]

    async def steps():
        with use_replica():
            yield await asyncio.create_task(run())

    async def main():
        return [step async for step in steps()]

    replica, primary = BlockKind.REPLICA, BlockKind.PRIMARY
    assert asyncio.run(main()) == [[primary, primary, replica, primary, replica]]


def test_a_generator_that_another_steps_is_inside_what_that_one_is_in():
    def inner():
        with use_primary():
            yield kind()
            yield kind()

    def outer():
        with use_replica():
            rows = inner()
            seen = [next(rows)]
            with use_replica():
                seen += [next(rows), kind()]
            yield seen

    replica, primary = BlockKind.REPLICA, BlockKind.PRIMARY
    assert list(outer()) == [[primary, primary, replica]]
