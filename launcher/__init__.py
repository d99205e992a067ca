"""Clusters of real database servers on this machine, for the demo, the tests and benchmarks.

Not part of the installed package. Servers listen on 127.0.0.1 alone, run as the current user
(PostgreSQL as another one than root), live in a folder of their own, and never outlive the process
that started them. On a terminal:

    python -m launcher mariadb --replicas 2          (or galera, mysql, postgresql)

In Python::

    from launcher.mariadb import MariaDBCluster

    with MariaDBCluster(replicas=2) as cluster:
        print(cluster.environment())
"""
