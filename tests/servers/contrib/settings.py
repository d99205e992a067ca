"""Settings of the tests with other packages, on a real MariaDB cluster.

The servers choose their ports when they start: ``conftest.py`` fills them in, and the workers that the tests
start find them in the environment.
"""

import os
from importlib.util import find_spec

from tests import settings as sqlite

SECRET_KEY = sqlite.SECRET_KEY
USE_TZ = sqlite.USE_TZ
ALLOWED_HOSTS = sqlite.ALLOWED_HOSTS
DEFAULT_AUTO_FIELD = sqlite.DEFAULT_AUTO_FIELD
STATIC_URL = sqlite.STATIC_URL
TEMPLATES = sqlite.TEMPLATES
MIDDLEWARE = sqlite.MIDDLEWARE
ROOT_URLCONF = "tests.servers.contrib.urls"

BROKER_VARIABLE = "RWROUTER_TEST_BROKER"
"""The address of Celery's messages and results."""
PORTS_VARIABLE = "RWROUTER_TEST_PORTS"
"""Those of primary and replicas."""
FLUSH_VARIABLE = "RWROUTER_TEST_FLUSH_SECONDS"
WITHOUT_VARIABLE = "RWROUTER_TEST_WITHOUT"
"""Set for a worker that must not have what connects it to the router."""

DATABASE = "rwrouter"
USER = "rwrouter"
PASSWORD = "used on 127.0.0.1 alone"
ALIASES = ["default", "replica1", "replica2"]

_ports = os.environ.get(PORTS_VARIABLE, "0,0,0").split(",")
_with = WITHOUT_VARIABLE not in os.environ


def _mariadb(port: str, **more: object) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.mysql",
        "HOST": "127.0.0.1",
        "PORT": port,
        "NAME": DATABASE,
        "USER": USER,
        "PASSWORD": PASSWORD,
        "OPTIONS": {"connect_timeout": 2, "read_timeout": 5},
        **more,
    }


DATABASES = {
    "default": _mariadb(_ports[0]),
    "replica1": _mariadb(_ports[1], TEST={"MIRROR": "default"}),
    "replica2": _mariadb(_ports[2], TEST={"MIRROR": "default"}),
}
MIGRATION_MODULES = dict.fromkeys(["admin", "auth", "contenttypes", "sessions"])
TASKS = {}
if find_spec("django.tasks") and find_spec("django_tasks_db"):
    TASKS = {
        "default": {
            "BACKEND": "django_rwrouter.contrib.tasks.RoutedBackend",
            "WRAPS": "django_tasks_db.backend.DatabaseBackend",
        },
        "without": {"BACKEND": "django_tasks_db.backend.DatabaseBackend"},
    }
DATABASE_ROUTERS = ["django_rwrouter.router.ReadWriteRouter"]
RWROUTER = {
    "REPLICAS": ["replica1", "replica2"],
    "CONSISTENCY": "causal",
    # A worker that has just begun, or a busy one, takes its time to run the first task.
    "PIN_SECONDS": 60,
    "STORE": ["cookie", "header"],
    "PRIMARY_ONLY": ["django_tasks_database"] if TASKS else [],
    # Longer than any test: what is read after it would have been written at the process's end.
    "STATS": {"FLUSH_SECONDS": float(os.environ.get(FLUSH_VARIABLE, "3600"))},
}
INSTALLED_APPS = [
    *sqlite.INSTALLED_APPS,
    *(["django_rwrouter.contrib.celery"] if _with and find_spec("celery") else []),
    *(["rest_framework"] if find_spec("rest_framework") else []),
    *(["django_tasks_db"] if TASKS else []),
    *(["django_rwrouter.contrib.opentelemetry"] if find_spec("opentelemetry") else []),
    *(["debug_toolbar"] if find_spec("debug_toolbar") else []),
]

DEBUG_TOOLBAR_PANELS = [
    "debug_toolbar.panels.sql.SQLPanel",
    "django_rwrouter.contrib.debug_toolbar.RoutingPanel",
]
DEBUG_TOOLBAR_CONFIG = {"IS_RUNNING_TESTS": False}

CELERY_BROKER_URL = CELERY_RESULT_BACKEND = os.environ.get(BROKER_VARIABLE, "memory://")
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
