"""MySQL's programs, and data folders for new servers."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from launcher.process import ServerError

FETCH = Path(__file__).resolve().parent.parent / "tools" / "fetch_mysql.sh"

FETCH_SECONDS = 900.0


@cache
def find_programs() -> Path:
    """Folder that MySQL is unpacked in; it is fetched if it is not there, which takes a minute.

    Raises ServerError, with the reason, if it cannot be had.
    """
    try:
        result = subprocess.run(
            [FETCH],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=FETCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"There is no MySQL: {error}") from None
    if result.returncode != 0:
        raise ServerError(f"There is no MySQL: {result.stderr.strip()}")
    return Path(result.stdout.splitlines()[-1])


def program(path: str) -> list[str]:
    """Arguments that run a program of the folder, such as `sbin/mysqld`.

    With the libraries that it came with, among them the C library: those of this machine are older.
    """
    root = find_programs() / "usr"
    loaders = sorted(root.glob("lib/*/ld-linux*.so.*"))
    if not loaders:
        raise ServerError(f"There is no MySQL: {root} has no ld-linux. Remove it, to fetch it anew.")
    libraries = f"{loaders[0].parent}:{root / 'lib' / 'mysql' / 'private'}"
    return [str(loaders[0]), "--library-path", libraries, str(root / path)]


def server_program(settings: Path) -> list[str]:
    """Arguments that run the server with an option file, and as the current user, also as root."""
    root = find_programs() / "usr"
    return [
        *program("sbin/mysqld"),
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
