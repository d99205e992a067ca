"""The ``Server-Timing`` response header: which databases answered, how often, how long it took, and why.

Browsers show it with the request's other timings (W3C, Server Timing). Nothing is added unless this
middleware is installed, and then for developers alone: with ``DEBUG``, or to staff who are known already.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from typing import Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from django_rwrouter.contrib.statement_recording import RecordedStatement, Recording, listen
from django_rwrouter.middleware import GetResponse
from django_rwrouter.printable import printable

HEADER: Final = "Server-Timing"
_NOT_IN_A_TOKEN: Final = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`|~-]")
"""RFC 9110, section 5.6.2."""


class ServerTimingMiddleware:
    """Adds the header. Put it first, or right after ``ReadWriteMiddleware``."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        listen()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle one request."""
        if self.is_async:
            return self.__acall__(request)
        recording = Recording()
        with recording:
            response = cast("HttpResponseBase", self.get_response(request))
        _add(request, response, recording)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Handle one request on the event loop; nothing here waits."""
        recording = Recording()
        with recording:
            response = await cast("Awaitable[HttpResponseBase]", self.get_response(request))
        _add(request, response, recording)
        return response


def _add(request: HttpRequest, response: HttpResponseBase, recording: Recording) -> None:
    # Who is asking is known only now, if at all: the middleware that finds out is inside this one.
    if not recording.statements or not (settings.DEBUG or _is_known_staff(request)):
        return
    present = response.headers.get(HEADER)
    metrics = _metrics(recording.statements)
    response.headers[HEADER] = ", ".join([present, *metrics] if present else metrics)


def _is_known_staff(request: HttpRequest) -> bool:
    """Whether the user has been looked up, for whatever purpose, and is staff.

    Looking costs a query for the session and one for the user, and would count as reads of this request.
    """
    user = getattr(request, "user", None)
    # AuthenticationMiddleware leaves a promise, and request.auser() keeps its user elsewhere.
    if isinstance(user, LazyObject) and user._wrapped is empty:  # noqa: SLF001
        user = None
    user = user or getattr(request, "_acached_user", None)
    return bool(user is not None and user.is_active and getattr(user, "is_staff", False))


def _metrics(statements: Sequence[RecordedStatement]) -> Iterator[str]:
    """Yield an entry for each database, in the order of their first statements."""
    for alias in dict.fromkeys(statement.alias for statement in statements):
        here = [statement for statement in statements if statement.alias == alias]
        milliseconds = sum(statement.milliseconds for statement in here)
        name = _NOT_IN_A_TOKEN.sub("_", f"db-{alias}")
        text = printable(_description(alias, here)).encode("ascii", "replace").decode()
        quoted = re.sub(r'([\\"])', r"\\\1", text)  # RFC 9110, section 5.6.4.
        yield f'{name};desc="{quoted}";dur={milliseconds:.1f}'


def _description(alias: str, statements: Sequence[RecordedStatement]) -> str:
    reads = Counter(statement.reason for statement in statements if statement.operation == "read")
    writes = sum(statement.operation == "write" for statement in statements)
    parts = []
    if reads:
        (main, _count), *others = reads.most_common()
        # The reason's value, not its label: headers are ASCII, whatever the language.
        parts.append(f"{_times(reads.total(), 'read')} ({main}{', ...' if others else ''})")
    if writes:
        parts.append(_times(writes, "write"))
    return f"{alias}: {', '.join(parts)}"


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
