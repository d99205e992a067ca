"""Django's own tasks (Django 6.0): a task sees what its publisher wrote, and has a routing scope of its own.

Django leaves it to backends how a task gets to a worker, and gives a message no place for more than the
task's arguments. So the token travels as a keyword argument, which is taken off again before the task's
function is called. Any backend will do that has its workers call ``Task.call()``, as Django documents it.
"""

from __future__ import annotations

from dataclasses import field, make_dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task
from django.utils.module_loading import import_string

from django_rwrouter.contrib.task_scope import TaskOptions, TaskScope, token_for_task

KEYWORD: Final = "rwrouter_token"
"""The keyword argument that carries the token."""
WRAPS: Final = "WRAPS"
"""The key in ``TASKS`` that names the backend which does the work."""


class _Routed:
    """The options that are added to a backend's task class."""

    __slots__ = ()

    if TYPE_CHECKING:
        safe: bool
        consistency: str | None
        max_staleness: float | None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for invalid options."""
        self.routing_options()
        super().__post_init__()  # type: ignore[misc]

    def routing_options(self) -> TaskOptions:
        """Return how the task's reads are treated."""
        return TaskOptions(safe=self.safe, consistency=self.consistency, max_staleness=self.max_staleness)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in a scope of its own."""
        with TaskScope(self.routing_options(), kwargs.pop(KEYWORD, "")):
            return super().call(*args, **kwargs)  # type: ignore[misc]

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in a scope of its own."""
        with TaskScope(self.routing_options(), kwargs.pop(KEYWORD, "")):
            return await super().acall(*args, **kwargs)  # type: ignore[misc]


@lru_cache
def routed_task(base: type) -> type[Task[Any, Any]]:
    """Return a class of tasks with the options ``safe``, ``consistency`` and ``max_staleness``."""
    made = make_dataclass(
        f"Routed{base.__name__}",
        [
            ("safe", bool, field(default=False)),
            ("consistency", "str | None", field(default=None)),
            ("max_staleness", "float | None", field(default=None)),
        ],
        bases=(_Routed, base),
        frozen=True,
        kw_only=True,
        slots=True,
    )
    made.__module__ = __name__  # So that a task can be pickled.
    return cast("type[Task[Any, Any]]", made)


RoutedTask: Final = routed_task(Task)
"""The task class for backends that have none of their own."""


@lru_cache
def routed_backend(base: Any) -> type[BaseTaskBackend]:
    """Return a class of backends that is ``base``, and puts the publisher's token into each message."""

    class Backend(base):  # type: ignore[misc]
        task_class = routed_task(base.task_class)

        def enqueue(self, task: Task[Any, Any], args: Any, kwargs: Any) -> Any:
            return super().enqueue(task, args, _with_token(task, kwargs))

        async def aenqueue(self, task: Task[Any, Any], args: Any, kwargs: Any) -> Any:
            # In a thread, where the primary can be asked for its position.
            kwargs = await sync_to_async(_with_token)(task, kwargs)
            return await super().aenqueue(task, args, kwargs)

    Backend.__name__ = Backend.__qualname__ = f"Routed{base.__name__}"
    return Backend


def _with_token(task: Task[Any, Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    # A task that another backend made does not know what to do with it.
    if not isinstance(task, _Routed) or KEYWORD in kwargs:
        return kwargs
    token = token_for_task(task.routing_options())
    return {**kwargs, KEYWORD: token} if token else kwargs


def RoutedBackend(alias: str, params: dict[str, Any]) -> BaseTaskBackend:  # noqa: N802
    """Make the backend that ``WRAPS`` names, routed: what ``BACKEND`` in ``TASKS`` names.

    Raises ``ImproperlyConfigured`` if it does not name one.
    """
    path = params.get(WRAPS)
    if not path:
        raise ImproperlyConfigured(
            f"TASKS[{alias!r}] has no {WRAPS!r}: write the dotted path of the backend that does the work,"
            " such as 'django.tasks.backends.immediate.ImmediateBackend'."
        )
    try:
        base = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"TASKS[{alias!r}][{WRAPS!r}] is {path!r}: {error}.") from error
    return routed_backend(base)(alias=alias, params=params)
