"""Makes the site's tables and what is in them, once for all contestants."""

from __future__ import annotations

import sys
from datetime import timedelta

from benchmarks.workers.scenes import set_up

SESSION = "benchmarkssessionofoneuser000001"
"""The key of the session of the only user, who is logged in."""


def main(rows: int) -> None:
    """Make so many rows of each model."""
    set_up()
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.core.management import call_command
    from django.utils import timezone

    from benchmarks.website.models import Author, Comment, Item, Tag

    call_command("migrate", run_syncdb=True, verbosity=0, interactive=False)
    for model in (Author, Comment, Item, Tag):
        model.objects.bulk_create([model(pk=pk) for pk in range(1, rows + 1)])
    user = User.objects.create(username="somebody")
    data = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    Session.objects.create(
        session_key=SESSION,
        session_data=SessionStore().encode(data),
        expire_date=timezone.now() + timedelta(days=1),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
