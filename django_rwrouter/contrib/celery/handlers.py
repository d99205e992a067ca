"""Receivers of the signals that Celery sends when a task is published, begins and ends.

Signals rather than a base class for tasks: they are sent for every task, however it is published (by name, by
beat, in a chain, as a retry) and whatever its class is. A task that is called like a function sends none, and
belongs to its caller.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, Final

from celery import Task, current_app, signals

from django_rwrouter import stats
from django_rwrouter.contrib.task_scope import NO_OPTIONS, TaskOptions, TaskScope, token_for_task

logger = logging.getLogger("django_rwrouter")

HEADER: Final = "rwrouter_token"
"""The header of a task's message that carries the token."""
_CHORD_UNLOCK: Final = "celery.chord_unlock"
"""Celery's own task that waits for the parts of a chord, where the result backend cannot count them."""
_running: Final[ContextVar[tuple[tuple[str, TaskScope], ...]]] = ContextVar(
    "rwrouter_celery_running", default=()
)
"""The tasks that run in this context, by id; several only where one runs another at once."""


def connect() -> None:
    """Connect the receivers; may be called again."""
    for signal, receiver in (
        (signals.before_task_publish, before_publish),
        (signals.task_prerun, begin),
        (signals.task_postrun, end),
        (signals.worker_process_shutdown, write_statistics),
        (signals.worker_init, look_at_options),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"django_rwrouter.{receiver.__name__}")


def before_publish(
    *, sender: str, headers: dict[str, Any], declare: object = None, **_kwargs: object
) -> None:
    """Put the publisher's token into the message. Celery logs what a receiver raises, and goes on."""
    # Looking for tasks would end the set-up of an app that has not ended it: it publishes by name alone.
    task = current_app.tasks.get(sender) if current_app.finalized else None  # type: ignore[attr-defined]
    options = NO_OPTIONS if task is None else _options(task)
    token = token_for_task(options, saw_all=_ends_chord(sender, headers))
    if token:  # Else what the publisher may have given as a header itself stays.
        headers[HEADER] = token


def begin(*, task_id: str, task: Task[Any, Any], **_kwargs: object) -> None:
    """Open the task's scope."""
    # A task that runs at once is sent no message, and so has no header yet.
    token = token_for_task(_options(task)) if task.request.is_eager else getattr(task.request, HEADER, "")
    scope = TaskScope(_options(task), token or "")
    scope.__enter__()
    _running.set((*_running.get(), (task_id, scope)))


def end(*, task_id: str, **_kwargs: object) -> None:
    """Close the task's scope, and what is still open inside it."""
    running = _running.get()
    if task_id not in dict(running):
        return
    while running:
        (ended, scope), running = running[-1], running[:-1]
        scope.__exit__()
        if ended == task_id:
            break
    _running.set(running)


def write_statistics(**_kwargs: object) -> None:
    """Write what a worker process has counted: it ends without exit hooks."""
    stats.flush(ending=True)


def look_at_options(*, sender: Any, **_kwargs: object) -> None:
    """Say at a worker's start which tasks have options that mean nothing."""
    for task in sender.app.tasks.values():
        _options(task)


def _options(task: Task[Any, Any]) -> TaskOptions:
    """Return the options of a task. With wrong ones it reads from the primary, and a log record says so."""
    try:
        return TaskOptions(
            safe=bool(getattr(task, "safe", False)),
            consistency=getattr(task, "consistency", None),
            max_staleness=getattr(task, "max_staleness", None),
        )
    except ValueError as error:
        logger.error(  # noqa: TRY400  (the message says it all)
            "The task %s reads from the primary, because of its options: %s", task.name, error
        )
        return NO_OPTIONS


def _ends_chord(name: str, headers: dict[str, Any]) -> bool:
    """Whether the task that is being published is what follows the parts of a chord.

    It must see what each of them wrote, and is published by the last, or by a task that wrote nothing.
    """
    publisher = current_app.current_task
    if publisher is None:
        return False
    if publisher.name == _CHORD_UNLOCK:
        return name != _CHORD_UNLOCK
    body: Any = publisher.request.chord
    return bool(body) and headers["id"] == body["options"].get("task_id")
