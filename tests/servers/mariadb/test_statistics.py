"""Statistics on a real primary: upserts of many processes at once, and an outage."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from django.db import connections

from django_rwrouter import stats
from django_rwrouter.stats import backends
from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.table import MERGED, RoutingStatistics


def stored(alias="default"):
    """Return how many rows of processes there are, and how often "hit" was counted in them.

    There may be one more, of the grand totals: whoever writes merges now and then.
    """
    rows = list(RoutingStatistics.objects.using(alias).exclude(process=MERGED))
    return len(rows), sum(times for row in rows for name, _, times in row.data["events"] if name == "hit")


def test_processes_that_write_at_once_do_not_get_in_each_others_way(cluster, monkeypatch):
    """No deadlock either, as InnoDB's gap locks make them easily; nor do those who merge get in the way."""
    monkeypatch.setattr(backends, "ROLL_UP_SECONDS", 0.0)
    processes, rounds = 8, 40

    def work(_number):
        process = uuid4().hex
        backend = backends.DatabaseBackend()
        for turn in range(rounds):
            data = {"statements": [], "events": [("hit", "", turn % 10 + 1)]}
            start = 60 * (turn // 10)
            backend.write(process, [Row(process=process, resolution=60, start=start, data=data)])
        connections.close_all()

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(work, range(processes)))
    assert stored() == (processes * rounds // 10, processes * rounds)
    assert RoutingStatistics.objects.filter(process=MERGED, resolution=0).exists()


def test_what_is_written_comes_to_the_replicas_by_replication_alone(cluster, administration):
    administration.pause()
    stats.count_event("hit")
    stats.flush()
    assert stored() == (1, 1)
    assert stored("replica1") == stored("replica2") == (0, 0)
    administration.resume()
    administration.level()
    assert stored("replica1") == stored("replica2") == (1, 1)


def test_counts_outlast_an_outage_of_the_primary(cluster, caplog):
    stats.count_event("hit")
    stats.flush()
    cluster.primary.kill()
    for _ in range(3):
        stats.count_event("hit")
        stats.flush()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    cluster.heal()
    connections.close_all()
    stats.flush()
    # A minute may have begun meanwhile.
    rows, hits = stored()
    assert rows in {1, 2}
    assert hits == 4
