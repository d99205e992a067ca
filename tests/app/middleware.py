"""Middleware of a project: it reads, and opens transactions of its own."""

from django.db import transaction

from tests.sqlite.conftest import reason

found = {}
"""Where the middleware's own reads went, by what it does."""


def atomic_around(get_response):
    """Run everything inside a transaction of its own."""

    def middleware(request):
        with transaction.atomic():
            found["around"] = reason()
            return get_response(request)

    return middleware


def atomic_before(get_response):
    """Have a transaction that is over when the view begins."""

    def middleware(request):
        with transaction.atomic():
            found["before"] = reason()
        return get_response(request)

    return middleware


def atomic_after(get_response):
    """Have a transaction once the view is done."""

    def middleware(request):
        response = get_response(request)
        with transaction.atomic():
            found["after"] = reason()
        return response

    return middleware


class AtomicInProcessView:
    """Have a transaction between the router's look at the view and the view itself."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        with transaction.atomic():
            found["process_view"] = reason()
