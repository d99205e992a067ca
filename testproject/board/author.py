"""The name that a visitor wrote under last, kept for the next form."""

from __future__ import annotations

from urllib.parse import quote, unquote

from django.http import HttpRequest, HttpResponse

from board.models import AUTHOR_LENGTH

COOKIE = "author"
SECONDS = 30 * 24 * 3600


def remembered_author(request: HttpRequest) -> str:
    """Return the name, or an empty string."""
    return unquote(request.COOKIES.get(COOKIE, ""))[:AUTHOR_LENGTH]


def remember_author(response: HttpResponse, author: str) -> None:
    """Keep the name in a cookie, quoted: a header is ASCII, names are not."""
    response.set_cookie(COOKIE, quote(author), max_age=SECONDS, httponly=True, samesite="Lax")
