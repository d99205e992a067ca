"""One list of what is shown of a server: the keys of ``status --json``, and the columns of both tables.

A new column is one more entry. :mod:`django_rwrouter.management.subcommands.status` writes the table of the
command, :mod:`django_rwrouter.admin.pages.now` the panel's.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_rwrouter.operations.cluster_now import ServerNow
from django_rwrouter.servers.server_state import Condition

Unit = Literal["text", "time", "lag", "number", "failures", "rate", "percent", "share", "ms"]


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that is known of a server."""

    path: str
    """Where the value is, from :class:`~django_rwrouter.operations.cluster_now.ServerNow` on; its last name
    is the key in the JSON, unless ``key`` is."""
    title: str = ""
    """Heading in the table of ``status``; empty if it is not there."""
    heading: Promise | str = ""
    """Heading in the panel's table; empty if it is not there."""
    unit: Unit = "text"
    key: str = ""
    hint: Promise | str = ""
    """What the panel's heading means, where that is short."""
    is_counted: bool = False
    """Whether it comes from the statistics: tables leave it empty without them."""
    of_replicas: bool = False
    """Whether tables leave it empty for a primary."""

    @property
    def name(self) -> str:
        """Its key in the JSON, which stays from version to version."""
        return self.key or self.path.rpartition(".")[2]

    @property
    def is_number(self) -> bool:
        """Whether it is set flush right."""
        return self.unit not in ("text", "time", "lag", "share")

    def value(self, server: ServerNow) -> Any:
        """Return the value for the JSON."""
        return attrgetter(self.path)(server)

    def cell(self, server: ServerNow) -> Any:
        """Return what a table shows, ``None`` for nothing."""
        if (
            (self.is_counted and not server.is_counted)
            or (self.of_replicas and server.is_primary)
            or (self.unit in ("percent", "share") and server.state.condition is Condition.DRAINED)
        ):
            return None
        return server.lag_bound if self.unit == "lag" else self.value(server)


COLUMNS: Final = (
    Column("alias", "database", _("Database")),
    Column("label"),
    Column("is_primary"),
    Column("state.role", "role", _("Role")),
    Column("state.condition.value", "state", _("State"), key="condition"),
    Column("state.since", "since", unit="time"),
    Column("state.why"),
    Column("state.failure"),
    Column("state.refused"),
    Column("drained"),
    Column("state.lag", "lag", _("Lag"), "lag", of_replicas=True),
    Column("state.lag_at_least"),
    Column("is_level"),
    Column("state.position"),
    Column("opinions"),
    Column("used.reads.count", key="reads"),
    Column("reads_per_second", "reads/s", _("Reads per second"), "rate", is_counted=True),
    Column("used.share", "share", unit="percent", is_counted=True),
    Column("weight_share", "weight", unit="percent", of_replicas=True),
    Column("used.reads.p50_milliseconds", "p50", "p50", "ms", hint=_("Half of the reads took no longer")),
    Column("used.reads.p95_milliseconds", "p95", "p95", "ms", hint=_("95 % of the reads took no longer")),
    # The panel shows the three shares in this cell.
    Column("used.replica_share", "", _("Share of reads"), "share", is_counted=True),
    Column("used.writes.count", key="writes"),
    Column("writes_per_second", "writes/s", unit="rate", is_counted=True),
    Column("used.errors", "errors", _("Errors"), "failures", is_counted=True),
)
