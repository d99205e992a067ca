"""Which machine an alias stands for: what its settings call it and, for those who may act, where it is."""

from __future__ import annotations

from django.db import connections
from django.http import HttpRequest

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.stats.table import CHANGE


def machines(request: HttpRequest) -> dict[str, str]:
    """Return by alias its label and, if the user may drain replicas, its host and port.

    Nothing else of ``DATABASES`` is ever shown: users, passwords and options may be secrets.
    """
    topology = get_topology()
    names = {alias: [""] for alias in topology.by_alias}
    for cluster in topology.clusters.values():
        names |= {replica.alias: [replica.label] for replica in cluster.replicas}
    if request.user.has_perm(CHANGE):
        names = {alias: [*label, _address(alias)] for alias, label in names.items()}
    return {alias: " \N{MIDDLE DOT} ".join(filter(None, parts)) for alias, parts in names.items()}


def _address(alias: str) -> str:
    settings = connections.settings[alias]
    host, port = str(settings.get("HOST") or ""), str(settings.get("PORT") or "")
    host = f"[{host}]" if ":" in host and port else host
    return f"{host}:{port}" if port else host
