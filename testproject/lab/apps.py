"""The app."""

from django.apps import AppConfig


class LabConfig(AppConfig):
    """The lab."""

    name = "lab"
    verbose_name = "Lab"
