"""The ``RWROUTER`` setting: read lazily, validated whole, never modified."""

from django_rwrouter.conf.parser import SETTING, Problem, read
from django_rwrouter.conf.project import DOCUMENTATION, get_settings, require_app

__all__ = ["DOCUMENTATION", "SETTING", "Problem", "get_settings", "read", "require_app"]
