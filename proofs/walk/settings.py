"""The site that is walked through: two clusters of files, whose replicas are copied when the walk says so."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

MEMORY = "/dev/shm"  # noqa: S108  (a folder is made in it, of a random name)
FOLDER = Path(tempfile.mkdtemp(prefix="rwrouter-walk-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

CLUSTERS = {
    "main": ("default", ("replica1", "replica2")),
    "second": ("primary2", ("replica3", "replica4")),
}
"""By the cluster's name: its primary and its replicas."""

SECRET_KEY = "for the walk only"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "proofs.walk.views"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.sessions", "django_rwrouter", "proofs.walk.apps.WalkConfig"]
SESSION_FILE_PATH = str(FOLDER)
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
LOGGING_CONFIG = None
DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(FOLDER / f"{alias}.sqlite3"),
        "OPTIONS": {"init_command": "PRAGMA synchronous = OFF"},
    }
    for primary, replicas in CLUSTERS.values()
    for alias in (primary, *replicas)
}
DATABASE_ROUTERS = ["django_rwrouter.router.ReadWriteRouter"]
ROUTER = "django_rwrouter.middleware.ReadWriteMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
MIDDLEWARE = [ROUTER, SESSIONS]
RWROUTER = {
    "CLUSTERS": {
        "main": {"PRIMARY": "default", "REPLICAS": ["replica1", "replica2"]},
        "second": {
            "PRIMARY": "primary2",
            "REPLICAS": ["replica3", "replica4"],
            "MODELS": ["walk.Cell2", "walk.Entry2"],
        },
    },
    "STATS": {"BACKEND": "off"},
    "WAIT_TIMEOUT": 0,
    "UNSAFE_VIEWS": ["/unsafe/"],
}
