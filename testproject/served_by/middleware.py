"""Tells on every response which databases served it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from served_by.record import Statement, as_text, recording, summary

HEADER = "X-Served-By"
PLACEHOLDER = b"<!-- served by -->"
"""Stands in the templates where the strip goes. Users' text cannot contain it: ``<`` is escaped."""
PREVIOUS_COOKIE = "served_by_previous"
"""Carries what the POST before a redirect did to the page that the visitor sees then."""
PREVIOUS_SECONDS = 30

View = Callable[[HttpRequest], HttpResponseBase]
AsyncView = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ServedByMiddleware:
    """Adds the header ``X-Served-By``, and to HTML pages the strip.

    The strip takes the place of a placeholder when the page is complete, so that it also counts the
    statements that ran after its place in the template was rendered, or after the view. It belongs
    outside of everything that uses a database, but inside of the router's middleware, which has to
    be first.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: View | AsyncView) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer, and say who helped."""
        if self.is_async:
            return self.__acall__(request)
        with recording() as statements:
            response = cast("View", self.get_response)(request)
        return tell(request, response, statements)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Do the same on the event loop."""
        with recording() as statements:
            response = await cast("AsyncView", self.get_response)(request)
        return tell(request, response, statements)


def tell(
    request: HttpRequest, response: HttpResponseBase, statements: Sequence[Statement]
) -> HttpResponseBase:
    """Add the header and, where the page has a place for it, the strip.

    What a streamed body reads later is not known yet, and missing from the header.
    """
    text = as_text(statements)
    response.headers[HEADER] = text
    if request.method == "POST" and 300 <= response.status_code < 400:
        response.set_cookie(PREVIOUS_COOKIE, text, max_age=PREVIOUS_SECONDS, httponly=True, samesite="Lax")
    elif isinstance(response, HttpResponse) and PLACEHOLDER in response.content:
        previous = request.COOKIES.get(PREVIOUS_COOKIE)
        strip = render_to_string(
            "served_by/strip.html", {"databases": summary(statements), "previous": previous}
        )
        response.content = response.content.replace(PLACEHOLDER, strip.encode(response.charset), 1)
        if "Content-Length" in response.headers:
            response.headers["Content-Length"] = str(len(response.content))
        if previous is not None:
            response.delete_cookie(PREVIOUS_COOKIE, samesite="Lax")
    return response
