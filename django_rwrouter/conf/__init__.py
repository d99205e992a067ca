"""What the project says in its ``RWROUTER`` setting: read lazily, validated whole, never written back."""

from django_rwrouter.conf.parser import SETTING, Problem, read
from django_rwrouter.conf.project import get_settings

__all__ = ["SETTING", "Problem", "get_settings", "read"]
