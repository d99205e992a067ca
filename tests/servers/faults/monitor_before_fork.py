"""Gunicorn's configuration: the first process reads, starts its monitor, and then forks its workers."""

import time

preload_app = True


def when_ready(server):
    """Called before the first worker is forked."""
    from board.models import Post
    from django_rwrouter import routing_scope
    from django_rwrouter.servers.health import health

    with routing_scope(safe=True):
        Post.objects.count()
    deadline = time.monotonic() + 20
    while not health.watched:
        assert time.monotonic() < deadline, "The monitor has not started."
        time.sleep(0.05)
