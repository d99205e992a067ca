"""MySQL's server program, and data folders for new servers."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from launcher.process import ServerError
from launcher.programs import fetch


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


def create_data(folders: Sequence[Path], *, settings: Path, temporary: Path) -> None:
    """Make the system tables once, and copy them: that takes 0.1 s rather than 2.

    `settings` is the option file of the server. Raises ServerError if it fails.
    """
    if not folders:
        return
    template = temporary / "template"
    result = subprocess.run(
        [*server_program(settings), f"--datadir={template}", "--initialize-insecure", "--skip-log-bin"],
        # Servers that start remove temporary tables of others from a folder that they share.
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        raise ServerError(f"mysqld --initialize-insecure failed:\n{result.stdout}{result.stderr}")
    (template / "auto.cnf").unlink()  # has the server's UUID: each makes its own
    for folder in folders:
        copy = folder.with_name("data.new")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(template, copy)
        copy.rename(folder)  # at once: half a copy would be taken for a database
    shutil.rmtree(template)
