"""Drained replicas and the kill switch, in running processes: gunicorn's, with a monitor in each."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.busy_clock import busy_clock
from tests.servers.mariadb import board as board_module

INTERVAL = 0.5
"""Seconds between two rounds of the monitor."""
IN_FORCE = 2 * INTERVAL
SLACK = 5.0
"""Seconds that a busy machine adds."""
ENVIRONMENT = {"RWROUTER_CONSISTENCY": "eventual", "RWROUTER_MONITOR_INTERVAL": str(INTERVAL)}


@pytest.fixture(autouse=True)
def _nothing_stays_overridden(cluster, administration, board):
    yield
    table = f"{board_module.DATABASE}.django_rwrouter_routingoverride"
    administration.ask(cluster.primary, f"DELETE FROM {table}")


class Visitors:
    """Read a page again and again, through all processes, and note which database answered when."""

    def __init__(self, site):
        self._site = site

    def used(self):
        """Return the databases that answer now: so many visits that each of two is drawn in each process."""
        with ThreadPoolExecutor(4) as pool:
            return set(pool.map(self._visit, range(24)))

    def _visit(self, _number):
        browser = self._site.browser()
        answer = browser.get("/api/latest/?author=nobody")
        browser.close()
        assert answer.status == 404, answer.body
        return answer.served_by.partition(" ")[0]

    def await_use_of(self, *aliases):
        """Return after how many seconds these alone answer; more than is promised is an error."""
        began = busy_clock()
        while True:
            asked = busy_clock()
            if self.used() == set(aliases):
                return asked - began
            assert asked - began < IN_FORCE + SLACK, f"Not only {aliases} answer."


@contextmanager
def serving(board, **more):
    with board.serve(workers=3, **ENVIRONMENT, **more) as site:
        visitors = Visitors(site)
        visitors.used()  # Each process has begun, and has a monitor.
        yield visitors


def test_a_replica_is_drained_in_all_processes_and_through_restarts(cluster, board):
    with serving(board) as visitors:
        assert visitors.used() == {"replica1", "replica2"}
        board.manage("rwrouter", "drain", "replica1", "--reason", "a new disk")
        visitors.await_use_of("replica2")
    with serving(board) as visitors:
        visitors.await_use_of("replica2")
        board.manage("rwrouter", "undrain", "replica1")
        visitors.await_use_of("replica1", "replica2")


def test_the_kill_switch_is_thrown_in_all_processes(cluster, board):
    with serving(board) as visitors:
        board.manage("rwrouter", "switch_off", "--reason", "stale reads")
        visitors.await_use_of("default")
        board.manage("rwrouter", "switch_on")
        visitors.await_use_of("replica1", "replica2")


def test_a_drained_replica_may_be_stopped_without_anybody_noticing(cluster, replica, board):
    """Without statistics as well: they have nothing to do with it."""
    with serving(board, RWROUTER_STATS="off") as visitors:
        board.manage("rwrouter", "drain", "replica1")
        visitors.await_use_of("replica2")
        replica.stop()
        assert visitors.used() == {"replica2"}
