"""Tasks that tell what they saw: the titles of all books, and where each read went and why."""

import time

from celery import shared_task

from django_rwrouter import routing_scope, use_replica
from tests.app.models import Book
from tests.servers.contrib.look import look


@shared_task
def plain(*_args):
    return look()


@shared_task(safe=True)
def safe(*_args):
    return look()


@shared_task(consistency="causal")
def causal(*_args):
    return look()


@shared_task(consistency="eventual")
def eventual(*_args):
    return look()


@shared_task(consistency="casual")
def misspelt(*_args):
    return look()


@shared_task
def by_hand():
    """What a project without the integration would write."""
    with routing_scope(safe=True):
        return look()


@shared_task
def write(title):
    Book.objects.create(title=title)


@shared_task
def end_after(title):
    """Write nothing, and end when somebody else has written."""
    deadline = time.monotonic() + 30
    while not Book.objects.filter(title=title).exists():
        assert time.monotonic() < deadline, "Nobody has written it."
        time.sleep(0.01)


@shared_task
def write_and_publish(title, queue):
    Book.objects.create(title=title)
    return causal.apply_async(queue=queue).id


@shared_task(bind=True, consistency="causal", max_retries=1)
def at_the_second_try(self):
    seen = look()
    if not self.request.retries:
        raise self.retry(countdown=0)
    return seen


@shared_task(safe=True)
def messy():
    """Leaves everything open that can be left open."""
    Book.objects.create(title="messy")
    routing_scope(safe=True).__enter__()
    use_replica().__enter__()
    return look()
