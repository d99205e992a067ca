"""System checks: the mistakes of a set-up, seen in the settings and, with ``--database``, at the servers.

Errors are for what breaks correctness, warnings for what costs or endangers. Each id has a section of its own
in ``docs/checks.md``, and is never given to anything else.
"""

from __future__ import annotations

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register
from django.db import DEFAULT_DB_ALIAS

from django_rwrouter.checks import databases, installation, replicas, servers, setting, sharing
from django_rwrouter.checks.messages import TAG
from django_rwrouter.conf import SETTING, read


@register(TAG)
def check_setup(**_kwargs: object) -> list[CheckMessage]:
    """Check the ``RWROUTER`` setting, and whatever else of the project's settings it depends on.

    Asks no database. Also runs where ``ENABLED`` is ``False``: the switch may be thrown back at any time.
    """
    missing = not hasattr(django_settings, SETTING)
    raw = {} if missing else getattr(django_settings, SETTING)
    settings, problems = read(raw, django_settings.DATABASES or {DEFAULT_DB_ALIAS: {}})
    if settings is None:
        # What does not depend on the setting is checked all the same, so that it is all said at once.
        return [*map(setting.problem, problems), *installation.middleware(None), *installation.routers(None)]
    messages = [
        *setting.names(settings),
        *setting.labels(raw),
        *setting.cookie(settings),
        *setting.views(settings),
    ]
    if settings.inert:
        # Nothing is routed, so nothing else can be wrong. `REPLICAS: []` says that this is meant.
        unfinished = missing or (raw and not raw.keys() & {"REPLICAS", "CLUSTERS"})
        return [*messages, *(setting.unused(missing=missing) if unfinished else ())]
    return [
        *messages,
        *installation.middleware(settings),
        *installation.routers(settings),
        *sharing.sharing(settings),
        *databases.clusters(settings),
        *replicas.replicas(settings),
        *databases.second_aliases(settings),
        *databases.statistics(settings),
        *setting.apps_that_keep_rows(settings),
        *setting.sessions(settings),
    ]


register(servers.check_servers, TAG, Tags.database)
