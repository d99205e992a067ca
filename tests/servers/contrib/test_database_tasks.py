"""Django's own tasks, with a worker process and replicas that stand still."""

import pickle
import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from django_rwrouter import routing_scope
from tests.app.models import Book
from tests.servers.contrib.conftest import ROOT

pytest.importorskip("django.tasks", reason="not for this Django, which has no tasks of its own (6.0 has)")
pytest.importorskip("django_tasks_db", reason="django-tasks-db is not installed")

from tests.servers.contrib import database_tasks as tasks


@pytest.fixture
def work(environment):
    """Let a worker do what there is to do, and end; returns the result that a task then has."""

    def work(result, backend="default"):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "django", "db_worker", f"--backend={backend}"),
                *("--batch", "--no-startup-delay", "--no-reload"),
            ],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result.refresh()
        assert not result.errors, f"{result.errors[0].traceback}\n{done.stderr}"
        return result.return_value

    return work


def test_a_task_sees_what_its_publisher_wrote(lagging, work):
    with routing_scope():
        Book.objects.create(title="new")
        result = tasks.causal.enqueue()
    found = work(result)
    assert (found["titles"], found["alias"]) == (["new"], "default")


def test_without_the_integration_it_does_not(lagging, work):
    with routing_scope():
        Book.objects.create(title="new")
        result = tasks.by_hand.enqueue()
    found = work(result, backend="without")
    assert found["titles"] == []
    assert found["alias"].startswith("replica")


def test_published_when_the_transaction_is_committed_it_carries_the_position(cluster, work):
    results = []
    with routing_scope(), transaction.atomic():
        Book.objects.create(title="new")
        transaction.on_commit(lambda: results.append(tasks.causal.enqueue()))
    cluster.wait_all()
    found = work(results[0])
    assert (found["titles"], found["reason"]) == (["new"], "causal")


def test_published_by_a_coroutine(lagging, work):
    async def publish():
        await Book.objects.acreate(title="new")
        return await tasks.causal.aenqueue()

    with routing_scope():
        result = async_to_sync(publish)()
    assert work(result)["titles"] == ["new"]


def test_published_by_a_task(lagging, work):
    with routing_scope():
        published = work(tasks.write_and_enqueue.enqueue("new"))
    result = tasks.causal.get_result(published)
    assert result.return_value["titles"] == ["new"]


def test_a_task_that_is_a_coroutine(lagging, work):
    with routing_scope():
        Book.objects.create(title="new")
        result = tasks.asynchronous.enqueue()
    assert work(result)["titles"] == ["new"]


def test_arguments_and_context_are_the_tasks_own(lagging, work):
    with routing_scope():
        Book.objects.create(title="new")
        result = tasks.with_context.enqueue("Hello", name="Ann")
    found = work(result)
    assert (found["titles"], found["greeting"], found["attempt"]) == (["new"], "Hello, Ann", 1)


@pytest.mark.parametrize(
    ("task", "alias", "reason"),
    [(tasks.plain, "default", "unsafe_method"), (tasks.safe, "replica", "causal")],
    ids=["a task may write", "safe"],
)
def test_options_of_a_task(cluster, work, task, alias, reason):
    with routing_scope():
        found = work(task.enqueue())
    assert (found["alias"].rstrip("12"), found["reason"]) == (alias, reason)


def test_nothing_is_added_for_a_publisher_that_wrote_nothing(cluster):
    with routing_scope():
        assert tasks.causal.enqueue().kwargs == {}


def test_a_task_can_be_pickled():
    assert pickle.loads(pickle.dumps(tasks.causal)) == tasks.causal
