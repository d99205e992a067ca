"""Real workers with a real broker, and replicas that stand still: who misses a write, shows it."""

import time
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.db import transaction
from django.test import override_settings

from django_rwrouter import routing_scope
from django_rwrouter.stats.table import RoutingStatistics
from launcher.process import ServerError
from launcher.redis import RedisServer
from tests.app.models import Book
from tests.servers.contrib.conftest import process
from tests.servers.contrib.settings import BROKER_VARIABLE, WITHOUT_VARIABLE

pytest.importorskip("celery", reason="celery is not installed")
pytest.importorskip("redis", reason="redis is not installed")

from celery import chain, chord
from celery.exceptions import TimeoutError  # noqa: A004

from tests.servers.contrib import celery_tasks as tasks
from tests.servers.contrib.celery_app import app

POOLS = {
    "prefork": ["--pool=prefork"],
    "threads": ["--pool=threads"],
    "without": ["--pool=solo"],
    "one_task": ["--pool=prefork", "--max-tasks-per-child=1"],
}
"""Workers by the name of their queue, of one process or thread each: tasks follow each other in it."""


@pytest.fixture(scope="module", autouse=True)
def workers(environment, tmp_path_factory):
    """Start a broker and the workers. Yields the folder of their logs."""
    folder = tmp_path_factory.mktemp("celery")
    processes = {}
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(RedisServer())
        except ServerError as error:
            if "not found" in str(error):
                pytest.skip(str(error))
            raise
        # Read at the first message.
        app.conf.broker_url = app.conf.result_backend = broker.url(scheme="redis+socket")
        for queue, options in POOLS.items():
            variables = {**environment, BROKER_VARIABLE: app.conf.broker_url}
            if queue == "without":
                variables[WITHOUT_VARIABLE] = "1"
            command = ["-m", "celery", "--app=tests.servers.contrib.celery_app", "worker", *options]
            command += [f"--queues={queue}", f"--hostname={queue}@tests", "--concurrency=1"]
            command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=INFO"]
            log = folder / f"{queue}.log"
            processes[log] = stack.enter_context(process(*command, environment=variables, log=log))
        app.running = processes
        yield folder
        app.close()


@pytest.fixture(params=["prefork", "threads"])
def queue(request):
    return request.param


def run(task, *args, queue):
    return seen(task.apply_async(args, queue=queue))


def seen(result):
    deadline = time.monotonic() + 60
    while True:
        try:
            return result.get(timeout=1, interval=0.02)
        except TimeoutError:
            dead = [log for log, worker in app.running.items() if worker.poll() is not None]
            assert not dead, f"A worker has ended:\n{dead[0].read_text()}"
            assert time.monotonic() < deadline, "No worker has run the task in 60 s."


def test_a_task_sees_what_its_publisher_wrote(lagging, queue):
    with routing_scope():
        Book.objects.create(title="new")
        found = run(tasks.causal, queue=queue)
    assert (found["titles"], found["alias"]) == (["new"], "default")


def test_without_the_integration_it_does_not(lagging):
    with routing_scope():
        Book.objects.create(title="new")
        found = run(tasks.by_hand, queue="without")
    assert found["titles"] == []
    assert found["alias"].startswith("replica")


def test_it_reads_a_replica_as_soon_as_one_has_caught_up(lagging, queue):
    with routing_scope():
        Book.objects.create(title="new")
        lagging.resume(lagging.replicas[1])
        lagging.wait(lagging.replicas[1])
        found = run(tasks.causal, queue=queue)
    assert (found["titles"], found["alias"], found["reason"]) == (["new"], "replica2", "causal")


@pytest.mark.parametrize("where", ["request", "outside any scope"])
def test_published_when_the_transaction_is_committed_it_carries_the_position(cluster, queue, where):
    def publish():
        with transaction.atomic():
            Book.objects.create(title="new")
            transaction.on_commit(lambda: cluster.wait_all() or found.append(run(tasks.causal, queue=queue)))

    found = []
    if where == "request":
        with routing_scope():
            publish()
    else:
        publish()
    # With the time alone it would be sent to the primary.
    assert [(each["titles"], each["reason"]) for each in found] == [(["new"], "causal")]


def test_a_task_that_wants_a_position_gets_one_in_a_project_that_has_none(cluster, queue):
    window = {**settings.RWROUTER, "CONSISTENCY": "window"}
    with override_settings(RWROUTER=window), routing_scope():
        Book.objects.create(title="new")
        cluster.wait_all()
        results = [task.apply_async(queue=queue) for task in (tasks.causal, tasks.safe)]
    # The worker's own level is causal: with the time alone, it reads from the primary.
    assert [seen(result)["reason"] for result in results] == ["causal", "pinned"]


def test_published_inside_a_transaction_it_carries_the_time(lagging):
    with routing_scope():
        with transaction.atomic():
            Book.objects.create(title="new")
            result = tasks.causal.apply_async(queue="prefork")
        assert seen(result)["reason"] == "pinned"


def test_what_a_publisher_outside_any_scope_wrote_counts(lagging, queue):
    Book.objects.create(title="new")
    assert run(tasks.causal, queue=queue)["titles"] == ["new"]


def test_published_by_name(lagging, queue):
    with routing_scope():
        Book.objects.create(title="new")
        result = app.send_task("tests.servers.contrib.celery_tasks.causal", queue=queue)
    assert seen(result)["titles"] == ["new"]


def test_published_by_a_task(lagging, queue):
    published = run(tasks.write_and_publish, "new", queue, queue=queue)
    assert seen(app.AsyncResult(published))["titles"] == ["new"]


def test_what_follows_in_a_chain_sees_what_came_before(lagging, queue):
    steps = [tasks.write.si("one"), tasks.write.si("two"), tasks.causal.si()]
    result = chain(step.set(queue=queue) for step in steps).apply_async()
    assert seen(result)["titles"] == ["one", "two"]


def test_what_follows_a_chord_sees_what_its_parts_wrote(lagging):
    parts = [tasks.write.si("new").set(queue="prefork"), tasks.end_after.si("new").set(queue="threads")]
    body = tasks.causal.si().set(queue="prefork")
    # The last part publishes it, and has written nothing.
    assert seen(chord(parts)(body))["titles"] == ["new"]


def test_a_retry_still_knows(lagging, queue):
    with routing_scope():
        Book.objects.create(title="new")
        result = tasks.at_the_second_try.apply_async(queue=queue)
    assert seen(result)["titles"] == ["new"]


@pytest.mark.parametrize(
    ("task", "alias", "reason"),
    [
        pytest.param(tasks.plain, "default", "unsafe_method", id="a task may write"),
        pytest.param(tasks.safe, "replica", "causal", id="safe"),
        pytest.param(tasks.causal, "replica", "causal", id="causal"),
        pytest.param(tasks.eventual, "replica", "eventual", id="eventual"),
        pytest.param(tasks.misspelt, "default", "unsafe_method", id="an unknown level"),
    ],
)
def test_options_of_a_task(cluster, queue, task, alias, reason):
    with routing_scope():
        found = run(task, queue=queue)
    assert (found["alias"].rstrip("12"), found["reason"]) == (alias, reason)


def test_an_unknown_level_is_named_when_a_worker_starts(cluster, workers):
    run(tasks.plain, queue="prefork")
    log = (workers / "prefork.log").read_text()
    assert "celery_tasks.misspelt reads from the primary, because of its options: 'casual'" in log


def test_nothing_leaks_to_the_next_task(cluster, queue):
    with routing_scope():
        messy = run(tasks.messy, queue=queue)
        after = [run(task, queue=queue) for task in (tasks.plain, tasks.safe)]
    assert messy["reason"] == "use_replica"
    assert {each["process"] for each in after} == {messy["process"]}
    assert [each["reason"] for each in after] == ["unsafe_method", "causal"]


def test_a_worker_process_writes_its_statistics_when_it_ends(cluster):
    run(tasks.plain, queue="one_task")
    deadline = time.monotonic() + 30
    while not (rows := list(RoutingStatistics.objects.all())):
        assert time.monotonic() < deadline, "The process that ran the task has written no statistics."
        time.sleep(0.05)
    assert rows
