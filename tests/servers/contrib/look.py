"""What a task saw: the titles of all books, where the read went, and why."""

import os

from django_rwrouter.testing import capture_routing
from tests.app.models import Book


def look():
    with capture_routing() as decisions:
        titles = sorted(Book.objects.values_list("title", flat=True))
    return {
        "titles": titles,
        "alias": decisions[0].alias,
        "reason": decisions[0].reason.value,
        "process": os.getpid(),
    }
