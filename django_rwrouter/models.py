"""The tables of this package, where Django looks for them."""

from django_rwrouter.operations.override_table import RoutingOverride
from django_rwrouter.stats.table import RoutingStatistics

__all__ = ["RoutingOverride", "RoutingStatistics"]
