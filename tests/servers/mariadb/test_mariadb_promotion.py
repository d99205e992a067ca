"""Failover, as the launcher of MariaDB servers does it; the clusters here belong to this file alone."""

import pytest

from launcher.mariadb import MariaDBCluster, MariaDBServer, ServerError
from tests.patience import until


def cluster_with_a_table(folder=None) -> MariaDBCluster:
    cluster = MariaDBCluster(replicas=2, folder=folder)
    cluster.start()
    cluster.primary.sql("CREATE TABLE rwrouter.note (id INT PRIMARY KEY AUTO_INCREMENT)")
    cluster.wait_all()
    return cluster


@pytest.fixture
def cluster():
    cluster = cluster_with_a_table()
    yield cluster
    cluster.stop()


def write(cluster: MariaDBCluster) -> str:
    """A new row on the primary; returns its id."""
    [(row,)] = cluster.primary.sql("INSERT INTO rwrouter.note VALUES (NULL) RETURNING id")
    return row


def has(server: MariaDBServer, row: str) -> bool:
    return server.sql(f"SELECT id FROM rwrouter.note WHERE id = {row}") == [(row,)]


def test_failover_to_a_replica_that_lacks_a_write(cluster):
    old, (one, two) = cluster.primary, cluster.replicas
    cluster.disconnect(one)
    received = one.replication_status()["Gtid_IO_Pos"]
    old.sql("INSERT INTO rwrouter.note VALUES (6000000)")
    cluster.wait(two)
    cluster.disconnect(two)
    assert one.replication_status()["Gtid_IO_Pos"] == received
    old.kill()

    cluster.promote(one)
    assert (cluster.primary, cluster.replicas, cluster.former) == (one, [two], [old])
    new = write(cluster)
    with pytest.raises(ServerError, match=r"replica2.* does not follow .*replica1"):
        cluster.follow(two, one)
    cluster.rejoin(two)
    assert (has(two, new), has(two, "6000000")) == (True, False)
    one.kill()
    one.start()  # and stays the primary
    write(cluster)

    old.start()
    assert has(old, "6000000")
    cluster.rejoin(old)
    assert (cluster.replicas, cluster.former) == ([two, old], [])
    assert (has(old, new), has(old, "6000000")) == (True, False)
    assert old.sql("SELECT @@global.read_only") == [("1",)]
    # A server ignores what was written under its own id: a rebuilt one needs another.
    assert len({server.server_id for server in [*cluster.servers]} & {1, 2, 3}) == 1
    cluster.heal()


def test_a_disconnected_replica_receives_nothing_until_it_follows_again(cluster):
    one = cluster.replicas[0]
    cluster.disconnect(one)
    row = write(cluster)
    cluster.wait(cluster.replicas[1])
    assert not has(one, row)
    cluster.follow(one, cluster.primary)
    cluster.wait(one)
    assert has(one, row)


def test_a_paused_replica_applies_what_it_received_before_it_is_promoted(cluster):
    one, two = cluster.replicas
    cluster.pause(one)
    row = write(cluster)
    position = cluster.position()
    until(lambda: one.replication_status()["Gtid_IO_Pos"] == position, "nothing is received")
    cluster.promote(one)
    assert has(one, row)
    new = write(cluster)
    cluster.heal()  # the other one follows the new primary now
    assert has(two, new)


def test_a_replica_that_would_throw_away_what_it_received_cannot_be_promoted(cluster):
    one = cluster.replicas[0]
    cluster.delay(one, 600)
    with pytest.raises(ServerError, match="has a delay"):
        cluster.promote(one)
    cluster.delay(one, 0)
    cluster.pause(one)
    cluster.disconnect(one)
    with pytest.raises(ServerError, match="is paused and disconnected"):
        cluster.promote(one)
    cluster.heal()


def test_a_kept_cluster_cannot_promote(tmp_path):
    cluster = cluster_with_a_table(tmp_path)
    try:
        with pytest.raises(ServerError, match="keeps its data"):
            cluster.promote(cluster.replicas[0])
        with pytest.raises(ServerError, match="no replica of this cluster"):
            cluster.follow(cluster.primary, cluster.replicas[0])
        with pytest.raises(ServerError, match="neither a former primary nor a replica"):
            cluster.rejoin(cluster.primary)
    finally:
        cluster.stop()


def test_servers_do_not_share_a_folder_for_temporary_tables(cluster):
    folders = {server.sql("SELECT @@tmpdir")[0][0] for server in cluster.servers}
    assert len(folders) == 3
