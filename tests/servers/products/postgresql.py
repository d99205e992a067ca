"""Settings: PostgreSQL."""

from tests.servers.products.site import *  # noqa: F403
from tests.servers.products.site import databases

CLUSTER = "launcher.postgresql.PostgreSQLCluster"
DATABASES = databases("django.db.backends.postgresql")
