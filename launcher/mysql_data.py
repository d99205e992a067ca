"""MySQL's server program, and data folders for new servers."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from launcher.process import ServerError
from launcher.programs import fetch
from launcher.template import copy_template


def server_program(settings: Path) -> list[str]:
    """Arguments that run the server with an option file, and as the current user, also as root."""
    root = fetch("mysql")
    return [
        str(root / "sbin" / "mysqld"),
        f"--defaults-file={settings}",
        *(["--user=root"] if os.getuid() == 0 else []),
        f"--basedir={root}",
        f"--plugin-dir={root / 'lib' / 'mysql' / 'plugin'}",
        f"--lc-messages-dir={root / 'share' / 'mysql'}",
        f"--character-sets-dir={root / 'share' / 'mysql' / 'charsets'}",
    ]


def create_data(folders: Sequence[Path], *, settings: Path) -> None:
    """Give each server system tables; `settings` is one's option file. Raises ServerError if it fails."""

    def make(template: Path) -> None:
        result = subprocess.run(
            [*server_program(settings), f"--datadir={template}", "--initialize-insecure", "--skip-log-bin"],
            # Servers that start remove temporary tables of others from a folder that they share.
            env={**os.environ, "TMPDIR": str(template.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if result.returncode != 0:
            raise ServerError(f"mysqld --initialize-insecure failed:\n{result.stdout}{result.stderr}")
        (template / "auto.cnf").unlink()  # has the server's UUID: each makes its own

    copy_template(folders, "mysql", make)
