"""The app with the tables that clients write to."""

from django.apps import AppConfig


class WalkConfig(AppConfig):
    """Two kinds of tables, in each of two clusters."""

    name = "proofs.walk"
    label = "walk"
