"""Settings: MariaDB."""

from tests.servers.products.site import *  # noqa: F403
from tests.servers.products.site import TIMEOUT, databases

CLUSTER = "launcher.mariadb.MariaDBCluster"
DATABASES = databases("django.db.backends.mysql", read_timeout=TIMEOUT)
