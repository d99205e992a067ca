"""The settings that the databases share; the servers' addresses are filled in when they run."""

from tests import settings as sqlite

SECRET_KEY = sqlite.SECRET_KEY
USE_TZ = sqlite.USE_TZ
ALLOWED_HOSTS = sqlite.ALLOWED_HOSTS
DEFAULT_AUTO_FIELD = sqlite.DEFAULT_AUTO_FIELD
STATIC_URL = sqlite.STATIC_URL
INSTALLED_APPS = sqlite.INSTALLED_APPS
MIDDLEWARE = sqlite.MIDDLEWARE
TEMPLATES = sqlite.TEMPLATES
ROOT_URLCONF = "tests.servers.products.urls"

REPLICAS = ["replica1", "replica2"]
ALIASES = ["default", *REPLICAS]
TIMEOUT = 2
"""Seconds after which a server that says nothing is given up."""


def databases(engine, **options):
    """Return ``DATABASES`` for a primary and two replicas."""
    return {
        # Each a dict of its own: each gets an address of its own.
        alias: {
            "ENGINE": engine,
            "OPTIONS": {"connect_timeout": TIMEOUT, **options},
            "TEST": {"MIRROR": "default"} if alias in REPLICAS else {},
        }
        for alias in ALIASES
    }


DATABASE_ROUTERS = ["django_rwrouter.router.ReadWriteRouter"]
RWROUTER = {"REPLICAS": REPLICAS, "CONSISTENCY": "causal", "WAIT_TIMEOUT": 0.01}
