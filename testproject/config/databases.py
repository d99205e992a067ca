"""Turn the URLs of a primary and its replicas into Django's ``DATABASES``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environ

DatabaseConfig = dict[str, Any]

PRIMARY_ALIAS = "default"

# A replica that hangs must fail soon, so that the router can turn to another database. In seconds;
# mysqlclient and libpq take whole ones.
REPLICA_OPTIONS: dict[str, dict[str, Any]] = {
    "django.db.backends.mysql": {"connect_timeout": 2, "read_timeout": 5, "write_timeout": 5},
    "django.db.backends.postgresql": {"connect_timeout": 2},
}
PRIMARY_OPTIONS: dict[str, dict[str, Any]] = {
    "django.db.backends.mysql": {"connect_timeout": 5},
    "django.db.backends.postgresql": {"connect_timeout": 5},
    # With a write-ahead log readers and the writer do not block each other. IMMEDIATE makes a
    # transaction queue for the write lock when it begins, where waiting is possible, and not at its
    # first write, where SQLite gives up at once.
    "django.db.backends.sqlite3": {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    },
}


def replica_aliases(count: int) -> list[str]:
    """Return the aliases of that many replicas: ``replica1``, ``replica2``, and so on."""
    return [f"replica{number}" for number in range(1, count + 1)]


def databases(
    primary_url: str, replica_urls: Sequence[str], *, conn_max_age: int = 0
) -> dict[str, DatabaseConfig]:
    """Return ``DATABASES`` for a primary and its replicas, given as django-environ's database URLs.

    Options in a URL's query win over the ones set here. ``conn_max_age`` is in seconds.
    """
    configured = {PRIMARY_ALIAS: _database(primary_url, PRIMARY_OPTIONS, conn_max_age)}
    for alias, url in zip(replica_aliases(len(replica_urls)), replica_urls, strict=True):
        replica = _database(url, REPLICA_OPTIONS, conn_max_age)
        replica["TEST"] = {"MIRROR": PRIMARY_ALIAS}
        if replica["ENGINE"] == "django.db.backends.sqlite3":
            # Opened read-only, a copy that is not there yet is an error, which the router knows how
            # to handle, and not a new, empty database.
            replica["NAME"] = f"{Path(replica['NAME']).absolute().as_uri()}?mode=ro"
        configured[alias] = replica
    return configured


def _database(url: str, options_by_engine: dict[str, dict[str, Any]], conn_max_age: int) -> DatabaseConfig:
    config: DatabaseConfig = dict(environ.Env.db_url_config(url))
    config["OPTIONS"] = {**options_by_engine.get(config["ENGINE"], {}), **config.get("OPTIONS", {})}
    config["CONN_MAX_AGE"] = conn_max_age
    config["CONN_HEALTH_CHECKS"] = conn_max_age > 0
    return config
