"""Data folders for new MariaDB servers."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from launcher.process import ServerError
from launcher.programs import fetch, find_program, wanted
from launcher.template import copy_template

SERVER_PACKAGES = "mariadb-server mariadb-client"
"""What Debian and Ubuntu call them."""


def run_as() -> list[str]:
    """Arguments that let the server run as the current user.

    It refuses to run as root unless told so. Another user would not do: it could not enter a
    checkout under /root, nor a temporary folder of ours.
    """
    return ["--user=root"] if os.getuid() == 0 else []


def create_data(folders: Sequence[Path], *, settings: Path) -> None:
    """Give each server system tables; `settings` is one's option file. Raises ServerError if it fails."""
    version = wanted("mariadb")

    def make(template: Path) -> None:
        result = subprocess.run(
            [
                find_program("mariadb-install-db", packages=SERVER_PACKAGES, version=version),
                # Copied, because the program takes no path with a space in it.
                f"--defaults-file={shutil.copy(settings, template.parent)}",
                *run_as(),
                *([f"--basedir={fetch(version)}"] if version else []),
                f"--datadir={template}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                "--skip-log-bin",
            ],
            # Servers that start remove temporary tables of others from a folder that they share.
            env={**os.environ, "TMPDIR": str(template.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if result.returncode != 0:
            raise ServerError(f"mariadb-install-db failed:\n{result.stdout}{result.stderr}")

    copy_template(folders, version or "mariadb", make)
