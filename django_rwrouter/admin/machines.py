"""Which machine an alias stands for: what its settings call it and, for those who may act, where it is."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections
from django.http import HttpRequest

from django_rwrouter.admin.page import CHANGE
from django_rwrouter.conf.clusters import get_topology


def machines(request: HttpRequest) -> Callable[[str], str]:
    """Return a function from an alias to its label and, if the user may drain replicas, its host and port.

    Nothing else of ``DATABASES`` is ever shown: users, passwords and options may be secrets.
    """
    labels = {
        replica.alias: replica.label
        for cluster in get_topology().clusters.values()
        for replica in cluster.replicas
    }
    may_act = request.user.has_perm(CHANGE)

    def describe(alias: str) -> str:
        address = _address(alias) if may_act else ""
        return " \N{MIDDLE DOT} ".join(filter(None, (labels.get(alias, ""), address)))

    return describe


def _address(alias: str) -> str:
    settings = connections.settings[alias]
    host, port = str(settings.get("HOST") or ""), str(settings.get("PORT") or "")
    host = f"[{host}]" if ":" in host and port else host
    return f"{host}:{port}" if port else host
