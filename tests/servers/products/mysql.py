"""Settings: MySQL."""

from tests.servers.products.site import *  # noqa: F403
from tests.servers.products.site import TIMEOUT, databases

CLUSTER = "launcher.mysql.MySQLCluster"
DATABASES = databases("django.db.backends.mysql", read_timeout=TIMEOUT)
