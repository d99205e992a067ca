"""Spreads a Django project's reads over replicas without anyone ever missing what they just wrote."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_rwrouter.blocks import (
        consistency,
        current_token,
        mark_written,
        read_connection,
        restore_token,
        routing_scope,
        untracked_writes,
        use_primary,
        use_replica,
    )
    from django_rwrouter.decision import Decision, Level, Reason
    from django_rwrouter.exceptions import NoReplicaAvailable, ReplicaWriteError
    from django_rwrouter.operations.overrides import drain, switch_off, switch_on, undrain

__version__ = "0.1.0"

__all__ = [
    "Decision",
    "Level",
    "NoReplicaAvailable",
    "Reason",
    "ReplicaWriteError",
    "consistency",
    "current_token",
    "drain",
    "mark_written",
    "read_connection",
    "restore_token",
    "routing_scope",
    "switch_off",
    "switch_on",
    "undrain",
    "untracked_writes",
    "use_primary",
    "use_replica",
]

_HOMES = (
    "django_rwrouter.decision",
    "django_rwrouter.exceptions",
    "django_rwrouter.blocks",
    "django_rwrouter.operations.overrides",
)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used.

    Django imports this package before its apps are ready, and the names' own modules import models.
    """
    if name in __all__:
        for home in map(import_module, _HOMES):
            if name in vars(home):
                globals()[name] = value = vars(home)[name]
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
