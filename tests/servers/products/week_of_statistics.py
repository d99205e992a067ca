"""The week of statistics: no test by its name, so that it is measured where it is asked for alone."""

import time

import pytest

from django_rwrouter.stats.table import RoutingStatistics
from tests import week_of_statistics


@pytest.mark.timeout(600)
def test_a_hundred_processes_for_a_week_take_few_rows(cluster):
    """How quickly they are read is printed (with -s), and not promised: docs/statistics.md has it."""
    table = RoutingStatistics.objects.on_primary()
    table.delete()
    now = week_of_statistics.fill(table, int(time.time()))
    assert table.count() < 5_000
    week_of_statistics.show(table, now)
