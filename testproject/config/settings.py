"""Settings of the message board.

What differs between machines comes from the environment; README.md has the table. Without any environment:
SQLite, with two replicas that are lagging copies of the file.
"""

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from config.databases import PRIMARY_ALIAS, databases, replica_aliases

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DEBUG = env.bool("DEBUG", default=True)
if DEBUG:
    SECRET_KEY = env.str("SECRET_KEY", default="django-insecure-key-of-the-message-board")
else:
    SECRET_KEY = env.str("SECRET_KEY")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SECURE_COOKIES = env.bool("SECURE_COOKIES", default=False)
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES

# --- databases ---

SQLITE_REPLICATION: dict[str, Any] | None = None
"""What the replication simulator copies: primary, replicas and lag (seconds).

``None`` where the databases replicate by themselves."""

if "DATABASE_URL" in env:
    database_url = env.str("DATABASE_URL")
    replica_urls: list[str] = env.list("REPLICA_URLS", default=[])
elif "REPLICA_URLS" in env:
    raise ImproperlyConfigured("REPLICA_URLS is set and DATABASE_URL is not: name the primary too.")
else:
    data_dir = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".demo"))).absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    SQLITE_REPLICATION = {
        "primary": data_dir / "board.sqlite3",
        "replicas": [data_dir / "replica1.sqlite3", data_dir / "replica2.sqlite3"],
        "lag": env.float("SQLITE_REPLICA_LAG", default=2.0),
    }
    database_url = f"sqlite:///{SQLITE_REPLICATION['primary']}"
    replica_urls = [f"sqlite:///{path}" for path in SQLITE_REPLICATION["replicas"]]

DATABASES = databases(database_url, replica_urls, conn_max_age=env.int("CONN_MAX_AGE", default=0))
DATABASE_ROUTERS = ["django_rwrouter.router.ReadWriteRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

stores: list[str] = env.list("RWROUTER_STORE", default=["cookie"])
enabled = env.str("RWROUTER_ENABLED", default="true")
sync_replicas = env.str("RWROUTER_SYNC_REPLICAS", default="0")
RWROUTER = {
    "ENABLED": enabled if enabled == "shadow" else env.bool("RWROUTER_ENABLED", default=True),
    "PRIMARY": PRIMARY_ALIAS,
    "REPLICAS": replica_aliases(len(replica_urls)),
    "CONSISTENCY": env.str("RWROUTER_CONSISTENCY", default="window"),
    "PIN_SECONDS": env.float("RWROUTER_PIN_SECONDS", default=5),
    "STORE": stores[0] if len(stores) == 1 else stores,
    "REPLICA_PER": env.str("RWROUTER_REPLICA_PER", default="request"),
    "BALANCER": env.str("RWROUTER_BALANCER", default="random"),
    "WAIT_TIMEOUT": env.float("RWROUTER_WAIT_TIMEOUT", default=0.05),
    "SPILL_LIMIT": env.int("RWROUTER_SPILL_LIMIT", default=10),
    "MONOTONIC_READS": env.bool("RWROUTER_MONOTONIC_READS", default=False),
    "SYNC_REPLICAS": "all" if sync_replicas == "all" else int(sync_replicas),
    "SYNC_TIMEOUT": env.float("RWROUTER_SYNC_TIMEOUT", default=1.0),
    "MONITOR": {
        "MODE": env.str("RWROUTER_MONITOR", default="thread"),
        "INTERVAL": env.float("RWROUTER_MONITOR_INTERVAL", default=1.0),
        "TIMEOUT": env.float("RWROUTER_MONITOR_TIMEOUT", default=1.0),
    },
    "STATS": {
        "BACKEND": env.str("RWROUTER_STATS", default="database"),
        "FLUSH_SECONDS": env.float("RWROUTER_FLUSH_SECONDS", default=10),
    },
}

# --- applications ---

INSTALLED_APPS = [
    "django_rwrouter",
    "sqlite_replication",  # Before staticfiles: it adds to that app's `runserver`.
    "served_by",
    "board",
    "lab",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

LOAD_TEST_API = env.bool("LOAD_TEST_API", default=False)
"""Whether ``/api/`` answers: JSON without CSRF protection, for load tests alone."""

ROUTING = "django_rwrouter.middleware.ReadWriteMiddleware"
SERVED_BY = "served_by.middleware.ServedByMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
MIDDLEWARE = [
    # The session store needs the session, so the router's middleware then comes after it.
    *([SERVED_BY, SESSIONS, ROUTING] if "session" in stores else [ROUTING, SERVED_BY, SESSIONS]),
    *(["board.load_test_middleware.describe_answers"] if LOAD_TEST_API else []),
    "django.middleware.security.SecurityMiddleware",
    "config.content_security_policy.content_security_policy",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
SESSION_ENGINE = env.str("SESSION_ENGINE", default="django.contrib.sessions.backends.db")

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "static/"

LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="en")
LANGUAGES = [("en", "English"), ("ko", "한국어")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_TZ = True

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        # Errors with DEBUG off too. No warnings: each 404 would be one.
        "django": {"handlers": ["console"], "level": "ERROR"},
        "django_rwrouter": {"handlers": ["console"], "level": "INFO"},
        "sqlite_replication": {"handlers": ["console"], "level": "INFO"},
    },
}
