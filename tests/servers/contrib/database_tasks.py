"""Tasks for Django's own framework, with a backend that keeps them in the database."""

from django.tasks import task

from django_rwrouter import routing_scope
from tests.app.models import Book
from tests.servers.contrib.look import look


@task
def plain():
    return look()


@task(safe=True)
def safe():
    return look()


@task(consistency="causal")
def causal():
    return look()


@task(consistency="causal", takes_context=True)
def with_context(context, greeting, *, name):
    return {**look(), "greeting": f"{greeting}, {name}", "attempt": context.attempt}


@task(consistency="causal")
async def asynchronous():
    return {"titles": [book.title async for book in Book.objects.all()]}


@task(backend="without")
def by_hand():
    """What a project without the integration would write."""
    with routing_scope(safe=True):
        return look()


@task
def write_and_enqueue(title):
    Book.objects.create(title=title)
    return str(causal.enqueue().id)
