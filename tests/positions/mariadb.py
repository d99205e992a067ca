"""Settings: MariaDB."""

from tests.positions.site import *  # noqa: F403
from tests.positions.site import TIMEOUT, databases

CLUSTER = "launcher.mariadb.MariaDBCluster"
DATABASES = databases("django.db.backends.mysql", read_timeout=TIMEOUT)
