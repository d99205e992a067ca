"""Settings of the tests that each product must pass; product and addresses are filled in when servers run."""

from tests import settings as sqlite

SECRET_KEY = sqlite.SECRET_KEY
USE_TZ = sqlite.USE_TZ
ALLOWED_HOSTS = sqlite.ALLOWED_HOSTS
DEFAULT_AUTO_FIELD = sqlite.DEFAULT_AUTO_FIELD
STATIC_URL = sqlite.STATIC_URL
INSTALLED_APPS = sqlite.INSTALLED_APPS
# Django's own tables are made as they are now, not as they became.
MIGRATION_MODULES = dict.fromkeys(("admin", "auth", "contenttypes", "sessions"))
MIDDLEWARE = sqlite.MIDDLEWARE
TEMPLATES = sqlite.TEMPLATES
ROOT_URLCONF = "tests.servers.products.urls"

REPLICAS = ["replica1", "replica2"]
ALIASES = ["default", *REPLICAS]
TIMEOUT = 2
"""Seconds after which a server that says nothing is given up."""


# SQLite is only what is here before the first server runs: `lead_to()` puts the product's in its place.
DATABASES = {
    # Each a dict of its own: each gets an address of its own.
    alias: {
        "ENGINE": "django.db.backends.sqlite3",
        "TEST": {"MIRROR": "default"} if alias in REPLICAS else {},
    }
    for alias in ALIASES
}
DATABASE_ROUTERS = ["django_rwrouter.router.ReadWriteRouter"]
RWROUTER = {"REPLICAS": REPLICAS, "CONSISTENCY": "causal", "WAIT_TIMEOUT": 0.01}
