"""Tries a contestant's router and middleware on this Django; prints the error of each as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks.workers.scenes import set_up


def try_router() -> None:
    """Ask the router twice."""
    from django.db import router

    from benchmarks.website.models import Item

    router.db_for_read(Item)
    router.db_for_write(Item)


def try_middleware() -> None:
    """Make a request."""
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import RequestFactory

    status = WSGIHandler().get_response(RequestFactory().get("/")).status_code
    if status != 200:
        raise RuntimeError(f"status {status}")


def error_of(attempt: Callable[[], None]) -> str:
    """Return the error in words; empty if there is none."""
    try:
        attempt()
    except Exception as error:  # noqa: BLE001  (whatever a peer raises is its verdict)
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    set_up()
    print(json.dumps({"router": error_of(try_router), "middleware": error_of(try_middleware)}))
