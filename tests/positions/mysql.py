"""Settings: MySQL."""

from tests.positions.site import *  # noqa: F403
from tests.positions.site import TIMEOUT, databases

CLUSTER = "launcher.mysql.MySQLCluster"
DATABASES = databases("django.db.backends.mysql", read_timeout=TIMEOUT)
