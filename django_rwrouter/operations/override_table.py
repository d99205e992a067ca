"""The model for operators' overrides."""

from __future__ import annotations

from enum import Enum
from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_rwrouter.stats.own_table import OwnTable

MAX_REASON: Final = 500
"""Characters of an override's reason that are kept."""
MAX_BY: Final = 150


class OverrideKind(str, Enum):
    """What an operator can take out of the router's hands."""

    DRAIN = "drain"
    """A replica takes no reads."""
    PRIMARY_ONLY = "primary_only"
    """All reads of a cluster go to its primary: its kill switch."""


class RoutingOverride(models.Model):
    """What an operator wants, for all processes: each reads this table again and again.

    A row is in force for as long as it is there, whatever is restarted meanwhile.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=16)
    target = models.CharField(max_length=200)
    """The alias of a replica, or the name of a cluster."""
    reason = models.CharField(max_length=MAX_REASON, blank=True)
    made_by = models.CharField(max_length=MAX_BY, blank=True)
    """Who wanted it: a user of the admin, of the system, or whatever the code said."""
    made_at = models.BigIntegerField()
    """When, in seconds since 1970 (UTC)."""

    objects = OwnTable["RoutingOverride"].as_manager()

    class Meta:
        verbose_name = _("routing override")
        verbose_name_plural = _("routing overrides")
        # Made and ended by the commands, the page's actions and the functions in overrides.py alone.
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["kind", "target"], name="rwrouter_override_row")]

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"
