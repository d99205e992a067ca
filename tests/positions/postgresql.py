"""Settings: PostgreSQL."""

from tests.positions.site import *  # noqa: F403
from tests.positions.site import databases

CLUSTER = "launcher.postgresql.PostgreSQLCluster"
DATABASES = databases("django.db.backends.postgresql")
