"""The app."""

from django.apps import AppConfig


class BoardConfig(AppConfig):
    """The message board."""

    name = "board"
    verbose_name = "Board"
