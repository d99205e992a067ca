"""``manage.py prepare_board``: all that a new board needs before its first visitor."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from board.sample_content import add_sample_content

PASSWORD_VARIABLE = "BOARD_ADMIN_PASSWORD"  # noqa: S105  (the name of a variable)


class Command(BaseCommand):
    """Migrates, adds sample content and makes sure of an administrator; harmless to repeat."""

    help = (
        "Migrates the primary, fills an empty board with sample content and gives the account "
        f"'admin' the password in the environment variable {PASSWORD_VARIABLE}, if that is set."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        call_command("migrate", interactive=False, verbosity=0)
        add_sample_content()
        password = os.environ.get(PASSWORD_VARIABLE)
        if password is not None:
            if not password:
                raise CommandError(f"{PASSWORD_VARIABLE} is empty.")
            self._make_administrator(password)

    @staticmethod
    def _make_administrator(password: str) -> None:
        user, _created = User.objects.get_or_create(username="admin")
        if user.is_staff and user.is_superuser and user.check_password(password):
            return
        user.is_staff = user.is_superuser = True
        user.set_password(password)
        user.save()
