"""PostgreSQL's programs, and data folders for new servers."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.process import ServerError, SystemUser
from launcher.programs import fetch, wanted

PROGRAMS = ("postgres", "initdb", "pg_basebackup", "psql")

PACKAGES = "postgresql"
"""What Debian and Ubuntu call them. Their service is not used, and may be switched off."""

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
"""Where Debian, Red Hat and Homebrew keep them, for several versions at once."""

ADMINISTRATOR = "postgres"
"""The database's superuser, who can connect through the Unix socket alone."""


def find_programs() -> Path:
    """Folder with PostgreSQL's programs: the one of the `postgres` on PATH, or else the newest.

    POSTGRESQL_VERSION=19 in the environment asks for another version, which is fetched if need be. Raises
    ServerError, with the Debian package to install, if there is none.
    """
    if version := wanted("postgresql"):
        return next((fetch(version) / "lib" / "postgresql").glob("*/bin"))
    on_path = shutil.which("postgres")
    installed = [folder for place in PLACES for folder in Path("/").glob(place.removeprefix("/"))]
    newest_first = sorted(installed, key=_version, reverse=True)
    for folder in [*([Path(on_path).resolve().parent] if on_path else []), *newest_first]:
        if all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
            return folder
    raise ServerError(
        f"PostgreSQL's programs ({', '.join(PROGRAMS)}) were not found. On Debian or Ubuntu install "
        f"them with: apt-get install {PACKAGES}"
    )


def system_user() -> SystemUser | None:
    """Who runs the server, as it refuses to run as root; None for the current user."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return SystemUser(uid=account.pw_uid, gid=account.pw_gid)
    raise ServerError("PostgreSQL does not run as root, and there is no user postgres or nobody.")


def hand_over(folder: Path, user: SystemUser | None) -> None:
    """Give a folder to the user who runs the servers, and nobody else."""
    folder.chmod(0o700)
    if user is None:
        return
    os.chown(folder, user.uid, user.gid)
    if _run(["/bin/sh", "-c", 'test -w "$1"', "sh", str(folder)], user).returncode != 0:
        raise ServerError(
            f"PostgreSQL does not run as root, and the user that it runs as ({user.uid}) cannot enter "
            f"{folder}: choose a folder that others can reach, or start as an ordinary user."
        )


def create_data(folder: Path, user: SystemUser | None) -> None:
    """Make the system tables. Raises ServerError if it fails."""
    copy = _empty(folder)
    _check(
        [
            str(find_programs() / "initdb"),
            f"--pgdata={copy}",
            f"--username={ADMINISTRATOR}",
            "--encoding=UTF8",
            "--locale=C",
            "--lc-ctype=C.UTF-8",
            "--auth=reject",  # a server gets rules of its own
            "--no-sync",
        ],
        user,
    )
    copy.rename(folder)


def copy_data(folder: Path, user: SystemUser | None, *, socket: Path, port: int) -> None:
    """Copy a running server's data, for a standby. Raises ServerError if it fails."""
    copy = _empty(folder)
    _check(
        [
            str(find_programs() / "pg_basebackup"),
            f"--pgdata={copy}",
            f"--host={socket.parent}",
            f"--port={port}",
            f"--username={ADMINISTRATOR}",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-manifest",
            "--no-sync",
        ],
        user,
    )
    (copy / "standby.signal").touch()
    copy.rename(folder)


def client_environment() -> dict[str, str]:
    """Ours, without the variables that would lead libpq to another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "PGCLIENTENCODING": "UTF8"}


def literal(text: str) -> str:
    """The text as an SQL string, quotes included."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as SQL takes it whatever it contains, quotes included."""
    return '"' + name.replace('"', '""') + '"'


def setting(value: str) -> str:
    """The value as it stands in a configuration file, quotes included."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def connection_string(parameters: Mapping[str, str]) -> str:
    """Parameters in libpq's notation."""
    quoted = {k: v.replace("\\", "\\\\").replace("'", "\\'") for k, v in parameters.items()}
    return " ".join(f"{name}='{value}'" for name, value in quoted.items())


def _empty(folder: Path) -> Path:
    """Where data is made before it gets its name: half a copy would be taken for a database."""
    copy = folder.with_name("data.new")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    return copy


def _check(command: Sequence[str], user: SystemUser | None) -> None:
    result = _run(command, user)
    if result.returncode != 0:
        raise ServerError(f"{Path(command[0]).name} failed:\n{result.stdout}{result.stderr}")


def _run(command: Sequence[str], user: SystemUser | None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=client_environment(),
        cwd="/",
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
        check=False,
    )


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.parent.name))
