"""One colour for each database and each reason, on every page: by its place in the settings, or in its list.

A colour is a number, the part of a class of ``routing.css``.
"""

from __future__ import annotations

from typing import Final

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.decision import Reason

COLORS: Final = 28
MORE: Final = "more"
"""The colour of all that has no place: a database that left the settings, whatever is put together."""

Color = int | str

FIRST: Final = list(Reason).index(Reason.IN_TRANSACTION)
"""Where the reasons begin that most sites see: they have the clearest colours."""
REASONS: Final = {reason.value: (place - FIRST) % COLORS for place, reason in enumerate(Reason)}


def of_database(alias: str) -> Color:
    """Return the colour of a database."""
    clusters = get_topology().clusters.values()
    aliases = [alias for cluster in clusters for alias in cluster.aliases]
    return aliases.index(alias) % COLORS if alias in aliases else MORE


def of_reason(reason: str) -> Color:
    """Return the colour of a reason; of one of a newer version, that of all others."""
    return REASONS.get(reason, MORE)
