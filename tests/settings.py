"""Settings of the tests on SQLite: a primary and two replicas, each a file of its own.

Nothing is copied between the files by itself, so lag is exact: a replica has what ``replicate()`` (see
``tests/sqlite/conftest.py``) last gave it.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="rwrouter-tests-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

SECRET_KEY = "for tests only"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.app.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_rwrouter",
    "tests.app",
]
MIDDLEWARE = [
    "django_rwrouter.middleware.ReadWriteMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _sqlite(name: str, **options: object) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(FOLDER / f"{name}.sqlite3"),
        # The files need not survive anything; many tests write little.
        "OPTIONS": {"init_command": "PRAGMA synchronous = OFF"},
        **options,
    }


DATABASES = {
    "default": _sqlite("primary"),
    "replica1": _sqlite("replica1", TEST={"MIRROR": "default"}),
    "replica2": _sqlite("replica2", TEST={"MIRROR": "default"}),
    # Not ours: another database of the project.
    "other": _sqlite("other"),
}
DATABASE_ROUTERS = ["django_rwrouter.router.ReadWriteRouter"]
RWROUTER = {"REPLICAS": ["replica1", "replica2"]}
