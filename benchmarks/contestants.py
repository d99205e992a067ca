"""Who is compared: packages of this kind, small routers of our own, and this package at each level.

Nothing of a peer is in this repository: it is installed from the package index into an environment of its
own, and what stands here are the settings that its documentation asks for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

REPLICAS: Final = tuple(
    f"replica{number}" for number in range(1, 1 + int(os.environ.get("BENCH_SERVERS", "3")))
)
"""A process that ``BENCH_SERVERS`` is set for has as many."""
OURS: Final = "django-rwrouter"
BASELINE: Final = "random"
"""The two-line router that decisions are compared with."""

OUR_MIDDLEWARE: Final = "django_rwrouter.middleware.ReadWriteMiddleware"
OUR_ROUTER: Final = "django_rwrouter.router.ReadWriteRouter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One of those that are compared."""

    key: str
    """Its name on the command line and in reports."""
    title: str
    requirement: str = ""
    """What pip installs; empty for what is in this repository."""
    routers: Sequence[str] = ()
    middleware: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of Django."""
    note: str = ""
    """What a reader should know about the choice of its settings."""


def _ours(level: str) -> Contestant:
    return Contestant(
        key=f"{OURS}:{level}",
        title=f"{OURS}, {level}",
        routers=[OUR_ROUTER],
        middleware=[OUR_MIDDLEWARE],
        settings={"RWROUTER": {"REPLICAS": list(REPLICAS), "CONSISTENCY": level}},
    )


LEVELS: Final = ("primary", "eventual", "window", "causal", "strong")

CONTESTANTS: Final = {
    each.key: each
    for each in (
        Contestant(key="none", title="no router"),
        Contestant(
            key=BASELINE, title="random, two lines", routers=["benchmarks.website.routers.RandomRouter"]
        ),
        *(_ours(level) for level in LEVELS),
        Contestant(
            key="django-multidb-router",
            title="django-multidb-router",
            requirement="django-multidb-router==0.11",
            routers=["multidb.PinningReplicaRouter"],
            middleware=["multidb.middleware.PinningRouterMiddleware"],
            settings={"REPLICA_DATABASES": list(REPLICAS)},
            note="its own default: a window of 15 seconds after each unsafe method",
        ),
        Contestant(
            key="django-replicated",
            title="django-replicated",
            requirement="django_replicated==2.7",
            routers=["django_replicated.router.ReplicationRouter"],
            middleware=["django_replicated.middleware.ReplicationMiddleware"],
            # Its documentation has these imported from a module of its own, all together.
            settings={
                "REPLICATED_CACHE_BACKEND": None,
                "REPLICATED_DATABASE_DOWNTIME": 60,
                "REPLICATED_DATABASE_SLAVES": list(REPLICAS),
                "REPLICATED_VIEWS_OVERRIDES": {},
                "REPLICATED_READ_ONLY_DOWNTIME": 20,
                "REPLICATED_READ_ONLY_TRIES": 1,
                "REPLICATED_FORCE_MASTER_COOKIE_NAME": "just_updated",
                "REPLICATED_FORCE_MASTER_COOKIE_MAX_AGE": 5,
                "REPLICATED_FORCE_STATE_HEADER": "HTTP_X_REPLICATED_STATE",
                "REPLICATED_CHECK_STATE_ON_WRITE": True,
                "REPLICATED_FORCE_MASTER_COOKIE_STATUS_CODES": (302, 303),
                "REPLICATED_MANAGE_ATOMIC_REQUESTS": False,
            },
            note="its own default: the one request that follows a redirect reads the primary",
        ),
        Contestant(
            key="rails-window",
            title="window of 2 s, as Rails has it",
            routers=["benchmarks.website.rails_window.WindowRouter"],
            middleware=["benchmarks.website.rails_window.WindowMiddleware"],
            note="the rule of Rails' DatabaseSelector with its default delay, in Django",
        ),
        Contestant(
            key="django-rw-router",
            title="django-rw-router",
            requirement="django-rw-router==0.0.4",
            routers=["django_rw_router.routers.TransactionPrimaryReplicaRouter"],
            middleware=["django_rw_router.middleware.RequestContextMiddleware"],
            settings={"DJANGO_RW_ROUTER_READ_DBS": list(REPLICAS)},
            note="the router that looks at transactions",
        ),
        Contestant(
            key="django-balancer",
            title="django-balancer",
            requirement="django-balancer==0.5",
            routers=["balancer.routers.PinningRRMSRouter"],
            middleware=["balancer.middleware.PinningCookieMiddleware"],
            settings={"DATABASE_POOL": list(REPLICAS), "MASTER_DATABASE": "default"},
        ),
    )
}

PEERS: Final = [each for each in CONTESTANTS.values() if each.requirement]
