"""Blocks as decorators and context managers: what is in force while what runs. No database is asked."""

import asyncio
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View

from django_rwrouter import (
    consistency,
    current_token,
    mark_written,
    read_connection,
    restore_token,
    routing_scope,
    untracked_writes,
    use_primary,
    use_replica,
)
from django_rwrouter.scope.context import current_block, current_scope, writes_are_tracked
from django_rwrouter.scope.state import BlockKind

REQUEST = RequestFactory().get("/")


def in_force():
    """Name all that is in force here."""
    block = current_block("default")
    level = block.level.value if block and block.level else ""
    name = f"{block.kind.value} {level}".strip() if block else "none"
    return name, current_scope() is not None, writes_are_tracked()


NOTHING = ("none", False, True)
REGIONS = {
    "use_primary": (use_primary, ("use_primary", False, True)),
    "use_replica": (use_replica, ("use_replica", False, True)),
    "consistency": (lambda: consistency("eventual"), ("consistency eventual", False, True)),
    "untracked_writes": (untracked_writes, ("none", False, False)),
    "routing_scope": (routing_scope, ("none", True, True)),
}
regions = pytest.mark.parametrize(("make", "expected"), REGIONS.values(), ids=REGIONS)


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    assert in_force() == NOTHING
    yield
    assert in_force() == NOTHING


# --- as a context manager ----------------------------------------------------------------------------


@regions
def test_a_with_block(make, expected):
    with make():
        assert in_force() == expected


@regions
def test_an_exception_passes_and_restores(make, expected):
    with pytest.raises(ZeroDivisionError, match="mine"), make():
        raise ZeroDivisionError("mine")


@regions
def test_one_object_may_be_entered_again_inside_itself(make, expected):
    region = make()
    with region:
        with region, region:
            assert in_force() == expected
        assert in_force() == expected


@regions
def test_one_object_serves_many_threads_at_once(make, expected):
    region, barrier = make(), threading.Barrier(4)

    def work(_number):
        with region:
            barrier.wait()
            inside = in_force()
            barrier.wait()
        return inside, in_force()

    with ThreadPoolExecutor(4) as pool:
        for inside, after in pool.map(work, range(4)):
            assert (inside, after) == (expected, NOTHING)


@regions
def test_one_object_serves_many_tasks_at_once(make, expected):
    region = make()

    async def work(turns):
        with region:
            for _turn in range(turns):
                await asyncio.sleep(0)
            inside = in_force()
        return inside, in_force()

    async def main():
        return await asyncio.gather(*(work(turns) for turns in (3, 1, 2)))

    for inside, after in asyncio.run(main()):
        assert (inside, after) == (expected, NOTHING)


@regions
def test_it_reaches_into_threads_of_async_code_and_back_into_the_loop(make, expected):
    async def main():
        with make():
            in_thread = await sync_to_async(in_force)()
            in_loop_of_thread = await sync_to_async(async_to_sync(sync_to_async(in_force)))()
        return in_thread, in_loop_of_thread

    for inside in asyncio.run(main()):
        assert inside == expected


def test_blocks_end_in_the_order_in_which_they_began_even_if_entered_by_hand():
    one, other = use_primary(), use_replica()
    one.__enter__()
    other.__enter__()
    assert current_block("default").kind is BlockKind.REPLICA
    other.__exit__(None, None, None)
    assert current_block("default").kind is BlockKind.PRIMARY
    one.__exit__(None, None, None)


# --- as a decorator ------------------------------------------------------------------------------------


@regions
def test_a_function(make, expected):
    @make()
    def function(value, *, more):
        """Its docstring."""
        return value, more, in_force()

    assert function.__doc__ == "Its docstring."
    for _call in range(2):
        value, more, inside = function(1, more=2)
        assert (value, more, inside) == (1, 2, expected)
        assert in_force() == NOTHING


@regions
def test_an_async_function(make, expected):
    @make()
    async def function():
        await asyncio.sleep(0)
        return in_force()

    async def main():
        return await function(), in_force()

    assert iscoroutinefunction(function)
    inside, after = asyncio.run(main())
    assert (inside, after) == (expected, NOTHING)


@regions
def test_a_function_that_calls_itself(make, expected):
    @make()
    def function(depth):
        return in_force() if depth == 0 else function(depth - 1)

    assert function(3) == expected


@regions
def test_a_function_that_raises(make, expected):
    @make()
    def function():
        raise ZeroDivisionError

    @make()
    async def async_function():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        function()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(async_function())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_generator_function_is_refused(kind):
    def generator():
        yield

    async def async_generator():
        yield

    with pytest.raises(TypeError, match=r"generator.*with block inside"):
        use_primary()(generator if kind == "sync" else async_generator)


@regions
def test_a_method_decorated_in_a_class_based_view(make, expected):
    @method_decorator(make(), name="dispatch")
    class Decorated(View):
        def get(self, request):
            return HttpResponse(repr(in_force()))

    assert Decorated.as_view()(REQUEST).content.decode() == repr(expected)


@regions
def test_an_async_class_based_view(make, expected):
    @method_decorator(make(), name="dispatch")
    class Decorated(View):
        async def get(self, request):
            await asyncio.sleep(0)
            return HttpResponse(repr(in_force()))

    response = async_to_sync(Decorated.as_view())(REQUEST)
    assert response.content.decode() == repr(expected)


@regions
def test_the_view_that_as_view_returns(make, expected):
    class Plain(View):
        def get(self, request):
            return HttpResponse(repr(in_force()))

    class Async(View):
        async def get(self, request):
            return HttpResponse(repr(in_force()))

    assert make()(Plain.as_view())(REQUEST).content.decode() == repr(expected)
    view = make()(Async.as_view())
    assert iscoroutinefunction(view)
    assert async_to_sync(view)(REQUEST).content.decode() == repr(expected)


def test_attributes_that_other_decorators_leave_on_a_view_are_kept():
    def view(request):
        return HttpResponse()

    view.csrf_exempt = True
    view._non_atomic_requests = {"default"}
    decorated = use_primary()(view)
    assert (decorated.csrf_exempt, decorated._non_atomic_requests) == (True, {"default"})


# --- what a view leaves to be done later -----------------------------------------------------------------


class Template:
    """Renders what is in force when it is rendered."""

    def render(self, context, request):
        return repr(in_force())


class LateResponse(SimpleTemplateResponse):
    def resolve_template(self, template):
        return Template()


def late_view(request):
    return LateResponse("x")


async def async_late_view(request):
    return LateResponse("x")


VIEWS = {
    "a view": lambda decorate: decorate(late_view),
    "an async view": lambda decorate: async_to_sync(decorate(async_late_view)),
    "a class": lambda decorate: method_decorator(decorate, name="dispatch")(
        type("Late", (View,), {"get": lambda self, request: late_view(request)})
    ).as_view(),
}


@regions
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_template_response_is_rendered_inside(view, make, expected):
    response = view(make())(REQUEST)
    assert not response.is_rendered
    assert in_force() == NOTHING
    assert response.render().content.decode() == repr(expected)


def test_callbacks_after_rendering_run_inside_too():
    seen = []

    @use_primary()
    def view(request):
        response = LateResponse("x")
        response.add_post_render_callback(lambda _response: seen.append(in_force()[0]))
        return response

    view(REQUEST).render()
    assert seen == ["use_primary"]


def test_a_template_response_of_a_view_with_two_decorators():
    @use_primary()
    @untracked_writes()
    def view(request):
        return LateResponse("x")

    response = view(REQUEST).render()
    assert response.content.decode() == repr(("use_primary", False, False))


def test_a_rendered_template_response_can_be_pickled():
    response = use_primary()(late_view)(REQUEST).render()
    assert "render" not in vars(response)
    assert pickle.loads(pickle.dumps(response)).content == response.content


def test_a_template_response_that_is_rendered_already_is_left_alone():
    @use_primary()
    def view(request):
        return LateResponse("x").render()

    assert "use_primary" in view(REQUEST).content.decode()


@regions
def test_a_streaming_body_is_consumed_inside(make, expected):
    @make()
    def view(request):
        return StreamingHttpResponse(repr(in_force()) for _chunk in range(3))

    chunks = []
    for chunk in view(REQUEST):
        assert in_force() == NOTHING
        chunks.append(chunk.decode())
    assert chunks == [repr(expected)] * 3


@regions
def test_an_async_streaming_body_is_consumed_inside(make, expected):
    @make()
    async def view(request):
        async def body():
            for _chunk in range(3):
                await asyncio.sleep(0)
                yield repr(in_force())

        return StreamingHttpResponse(body())

    async def main():
        chunks = []
        async for chunk in await view(REQUEST):
            assert in_force() == NOTHING
            chunks.append(chunk.decode())
        return chunks

    assert asyncio.run(main()) == [repr(expected)] * 3


@pytest.mark.parametrize("late", ["template", "stream", "async stream"])
def test_what_is_left_for_later_is_in_the_same_scope_as_the_view(late):  # noqa: C901
    """A write of the view, or of an earlier chunk, must be known there."""
    scopes = []

    def note():
        scopes.append(current_scope())
        return "x"

    @routing_scope(safe=True)
    def view(request):
        note()
        if late == "template":
            response = LateResponse("x")
            response.add_post_render_callback(lambda _response: note() and None)
            return response
        if late == "stream":
            return StreamingHttpResponse(note() for _chunk in range(2))

        async def body():
            for _chunk in range(2):
                yield note()

        return StreamingHttpResponse(body())

    async def consume(response):
        async for _chunk in response:
            pass

    response = view(REQUEST)
    if late == "template":
        response.render()
    elif late == "stream":
        list(response)
    else:
        asyncio.run(consume(response))
    assert len(set(map(id, scopes))) == 1


# --- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", ["soon", "2", [], -1, float("nan"), float("inf"), 10**400, True], ids=str)
def test_a_bad_bound_is_an_error_of_one_type_that_names_it(bound):
    """Tasks catch it."""
    message = rf"max_staleness is {re.escape(repr(bound))}, which .*0 or a greater"
    with pytest.raises(ValueError, match=message):
        consistency("bounded", max_staleness=bound)


@pytest.mark.parametrize("level", ["windows", "", "WINDOW", None, 1])
def test_an_unknown_level(level):
    with pytest.raises(ValueError, match=r"'primary', 'eventual', 'window'"):
        consistency(level)


@pytest.mark.parametrize(
    "use",
    [
        lambda: use_primary(cluster="shop").__enter__(),
        lambda: use_replica(cluster="shop").__enter__(),
        lambda: consistency("window", cluster="shop").__enter__(),
        lambda: mark_written("shop"),
        lambda: read_connection("shop"),
    ],
    ids=["use_primary", "use_replica", "consistency", "mark_written", "read_connection"],
)
def test_an_unknown_cluster(use):
    with pytest.raises(ValueError, match=r"no cluster 'shop' in RWROUTER. The clusters are: 'default'"):
        use()


def test_outside_any_scope_there_is_no_token_to_take_and_nowhere_to_put_one():
    assert current_token() == ""
    with pytest.raises(RuntimeError, match=r"routing_scope\(token="):
        restore_token("x")
    with use_primary(), pytest.raises(RuntimeError, match=r"routing_scope\(token="):
        restore_token("x")  # a block is no scope
