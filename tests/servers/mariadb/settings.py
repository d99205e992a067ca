"""Settings of the tests on a real cluster: one primary, two replicas, all MariaDB.

The servers choose their ports when they start: ``conftest.py`` fills them in, and processes that the tests
start find them in the environment.
"""

import os

from tests import settings as sqlite

SECRET_KEY = sqlite.SECRET_KEY
USE_TZ = sqlite.USE_TZ
ALLOWED_HOSTS = sqlite.ALLOWED_HOSTS
DEFAULT_AUTO_FIELD = sqlite.DEFAULT_AUTO_FIELD
STATIC_URL = sqlite.STATIC_URL
PASSWORD_HASHERS = sqlite.PASSWORD_HASHERS
INSTALLED_APPS = sqlite.INSTALLED_APPS
MIDDLEWARE = sqlite.MIDDLEWARE
TEMPLATES = sqlite.TEMPLATES
ROOT_URLCONF = "tests.servers.mariadb.urls"

DATABASE = "rwrouter"
USER = "rwrouter"
PASSWORD = "used on 127.0.0.1 alone"
PORTS_VARIABLE = "RWROUTER_TEST_PORTS"

PRIMARY = "default"
REPLICAS = ["replica1", "replica2"]
ALIASES = [PRIMARY, *REPLICAS]
"""In the order of the cluster's servers, and of the ports in the environment."""
TIMEOUT = 2
"""Seconds after which a server that says nothing is given up; whole ones, as mysqlclient takes them."""

_ports = os.environ.get(PORTS_VARIABLE, "0,0,0").split(",")


def _mariadb(port: str, **more: object) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.mysql",
        "HOST": "127.0.0.1",
        "PORT": port,
        "NAME": DATABASE,
        "USER": USER,
        "PASSWORD": PASSWORD,
        "OPTIONS": {"connect_timeout": TIMEOUT, "read_timeout": TIMEOUT},
        **more,
    }


DATABASES = {
    PRIMARY: _mariadb(_ports[0]) | {"OPTIONS": {"connect_timeout": TIMEOUT}},
    "replica1": _mariadb(_ports[1], TEST={"MIRROR": PRIMARY}),
    "replica2": _mariadb(_ports[2], TEST={"MIRROR": PRIMARY}),
    # The server of replica1 once more, under a name that the router does not know.
    "unrouted": _mariadb(_ports[1], TEST={"MIRROR": PRIMARY}),
}
# Django makes the tables of apps without migrations first: what their foreign keys need has to be among them.
MIGRATION_MODULES = dict.fromkeys(["admin", "auth", "contenttypes", "sessions"])
DATABASE_ROUTERS = ["django_rwrouter.router.ReadWriteRouter"]
RWROUTER = {"REPLICAS": REPLICAS}
