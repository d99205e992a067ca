"""Celery: a task sees what its publisher wrote, and each task has a routing scope of its own.

Switched on by ``"django_rwrouter.contrib.celery"`` in ``INSTALLED_APPS``, where tasks are published and where
they run. A task says by options of its own how its reads are treated::

    @shared_task(consistency="causal")
    def index(pk): ...

``consistency`` and ``max_staleness`` are those of ``consistency()``, ``safe`` that of ``routing_scope()``.
"""
