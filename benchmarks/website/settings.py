"""Settings of the benchmarks' site; the environment says for whom.

``BENCH_CONTESTANT`` names one of ``benchmarks.contestants``; ``DATABASE_URL`` and ``REPLICA_URLS`` the
servers, as for the message board; ``BENCH_SETTINGS`` is JSON that is merged into ``RWROUTER``. ``BENCH_SITE``
is ``users`` for a site with sessions and users, and ``session`` for one whose sessions keep the token, too.
"""

import json
import os

from benchmarks.contestants import CONTESTANTS
from config.databases import databases

contestant = CONTESTANTS[os.environ.get("BENCH_CONTESTANT", "none")]

SECRET_KEY = "for benchmarks on 127.0.0.1 alone"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
STATIC_URL = "static/"
ROOT_URLCONF = "benchmarks.website.urls"
WSGI_APPLICATION = "benchmarks.website.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["benchmarks.website"]
MIDDLEWARE = list(contestant.middleware)
DATABASE_ROUTERS = list(contestant.routers)

DATABASES = databases(
    os.environ.get("DATABASE_URL", "sqlite://:memory:"),
    [url for url in os.environ.get("REPLICA_URLS", "").split(",") if url],
    conn_max_age=600,
)

site = os.environ.get("BENCH_SITE", "plain")
if site != "plain":
    INSTALLED_APPS += ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"]
    MIDDLEWARE.insert(
        0 if site == "session" else len(MIDDLEWARE), "django.contrib.sessions.middleware.SessionMiddleware"
    )
    MIDDLEWARE.append("django.contrib.auth.middleware.AuthenticationMiddleware")

more = json.loads(os.environ.get("BENCH_SETTINGS", "{}"))
if "BENCH_REPLICAS" in os.environ:
    # For the growth part: more aliases that lead to the same servers.
    replicas = int(os.environ["BENCH_REPLICAS"])
    servers = [each for alias, each in DATABASES.items() if alias != "default"]
    clusters = {}
    for cluster in range(int(os.environ["BENCH_CLUSTERS"])):
        primary = f"primary{cluster}" if cluster else "default"
        DATABASES[primary] = DATABASES["default"]
        aliases = [f"cluster{cluster}replica{number}" for number in range(replicas)]
        DATABASES.update((alias, servers[number % len(servers)]) for number, alias in enumerate(aliases))
        clusters[primary] = {"PRIMARY": primary, "REPLICAS": aliases}
        if cluster:
            clusters[primary]["MODELS"] = [f"app{cluster}"]
    more["CLUSTERS"] = clusters

globals().update(contestant.settings)
if "RWROUTER" in contestant.settings:
    INSTALLED_APPS += ["django_rwrouter"]
    RWROUTER = {**contestant.settings["RWROUTER"], **more}
    if site == "session":
        RWROUTER["STORE"] = "session"
    if "CLUSTERS" in RWROUTER:
        del RWROUTER["REPLICAS"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["console"], "level": "ERROR"}},
}
