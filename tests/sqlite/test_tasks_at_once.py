"""Tasks that run at once, where they are published: Django's immediate backend, Celery's eager mode."""

from types import SimpleNamespace

import django
import pytest
from django.db import transaction
from django.test import override_settings

from django_rwrouter import consistency, routing_scope, use_replica
from django_rwrouter.contrib.task_scope import TaskOptions, TaskScope, token_for_task
from django_rwrouter.scope.context import current_block, current_scope
from tests.app.models import Book

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

ROUTED = {
    "routed": {
        "BACKEND": "django_rwrouter.contrib.tasks.RoutedBackend",
        "WRAPS": "django.tasks.backends.immediate.ImmediateBackend",
    }
}


def titles():
    return list(Book.objects.values_list("title", flat=True))


def write(title):
    Book.objects.create(title=title)


def fail():
    routing_scope(safe=True).__enter__()
    raise RuntimeError("on purpose")


def look_at_scope():
    return [current_scope().safe, current_block("default") is None]


@pytest.fixture(params=["django", "celery"])
def run(request, databases):
    """Publish a function as a task that runs at once; returns its value, raises its error."""
    if request.param == "django":
        pytest.importorskip(
            "django.tasks", reason="not for this Django, which has no tasks of its own (6.0 has)"
        )
        from django.tasks import task

        def run(function, *args, **options):
            if options and django.VERSION < (6, 1):
                pytest.skip("not for this Django, whose @task() takes no options of a backend (6.1 does)")
            result = task(backend="routed", **options)(function).enqueue(*args)
            if result.errors:
                raise result.errors[0].exception_class("failed")
            return result.return_value

        with override_settings(TASKS=ROUTED):
            yield run
        return
    celery = pytest.importorskip("celery", reason="celery is not installed")
    from django_rwrouter.contrib.celery import handlers

    handlers.connect()
    with celery.Celery("at once", set_as_current=False, broker="memory://", fixups=[]) as app:
        app.conf.update(task_always_eager=True, task_eager_propagates=True)

        def run(function, *args, **options):
            name = f"{function.__name__}-{sorted(options.items())}"
            return app.task(name=name, **options)(function).delay(*args).get()

        yield run


def test_it_sees_what_the_request_wrote(run, routed):
    with routing_scope():
        Book.objects.create(title="new")
        assert run(titles, consistency="causal") == ["new"]
    assert (routed[-1].alias, routed[-1].reason.value) == ("default", "pinned")


def test_what_it_writes_counts_for_the_request(run, routed):
    with routing_scope(safe=True):
        run(write, "new")
        assert titles() == ["new"]
    assert routed[-1].reason.value == "wrote_in_scope"


def test_blocks_around_it_do_not_reach_it(run):
    with routing_scope(safe=True), use_replica():
        assert run(look_at_scope) == [False, True]
        assert current_scope().safe
        assert current_block("default") is not None


def test_a_level_does(run, routed):
    with routing_scope():
        run(titles, consistency="eventual")
    assert routed[-1].reason.value == "eventual"


def test_nothing_is_left_of_one_that_fails(run):
    with routing_scope(), pytest.raises(RuntimeError):
        run(fail)
    assert current_scope() is None


def test_outside_any_scope_nothing_is_left_either(run):
    run(write, "new")
    assert current_scope() is None


# --- what both have in common ------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"consistency": "casual"}, {"consistency": "bounded"}, {"max_staleness": 2.0}],
    ids=["unknown level", "bounded without a bound", "a bound without bounded"],
)
def test_options_that_mean_nothing(options):
    with pytest.raises(ValueError, match=r"max_staleness|not a level"):
        TaskOptions(**options)


def test_the_token_is_empty_where_nothing_was_written(databases):
    with routing_scope():
        assert token_for_task() == ""
        Book.objects.create(title="new")
        assert token_for_task() != ""
        with transaction.atomic():
            assert token_for_task() != ""


def test_a_scope_that_is_left_open_ends_with_the_task():
    with routing_scope(safe=True):
        outer = current_scope()
        with TaskScope():
            use_replica().__enter__()
            consistency("strong").__enter__()
            assert current_scope().outer is outer
        assert current_scope() is outer
        assert current_block("default") is None


def test_a_level_that_does_not_exist_leaves_nothing_open():
    options = TaskOptions()
    object.__setattr__(options, "consistency", "casual")
    with pytest.raises(ValueError, match="casual"), TaskScope(options):
        pytest.fail("It was entered.")
    assert current_scope() is None


@pytest.mark.parametrize(
    ("publisher", "chord", "published", "expected"),
    [
        pytest.param(None, None, "body", False, id="no task"),
        pytest.param("task", None, "body", False, id="a task"),
        pytest.param("task", {"options": {"task_id": "body"}}, "body", True, id="the last part of a chord"),
        pytest.param("task", {"options": {"task_id": "body"}}, "other", False, id="a part, something else"),
        pytest.param(
            "celery.chord_unlock", None, "body", True, id="Celery's own, for backends that do not count"
        ),
        pytest.param("celery.chord_unlock", None, "celery.chord_unlock", False, id="which asks again"),
    ],
)
def test_what_follows_a_chord_is_known(publisher, chord, published, expected, monkeypatch):
    pytest.importorskip("celery", reason="celery is not installed")
    from django_rwrouter.contrib.celery import handlers

    task = publisher and SimpleNamespace(name=publisher, request=SimpleNamespace(chord=chord))
    monkeypatch.setattr(handlers, "current_app", SimpleNamespace(current_task=task))
    assert handlers._ends_chord(published, {"id": published}) is expected
