"""Where the server programs are."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from launcher.process import ServerError

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/opt/homebrew/bin")
"""Distributions put servers where an ordinary user's PATH does not look."""

FETCH = Path(__file__).resolve().parent.parent / "tools" / "fetch_debian.sh"
FETCH_SECONDS = 900.0


def find_program(name: str, *, packages: str, version: str = "") -> str:
    """Path of a program: the installed one, or that of a version such as "mariadb11.8", which is fetched.

    Raises ServerError, with the Debian packages to install, if it is not there.
    """
    if version:
        folders = [str(fetch(version) / place) for place in ("sbin", "bin")]
    else:
        folders = [os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS]
    program = shutil.which(name, path=os.pathsep.join(folders))
    if program is None:
        raise ServerError(
            f"The program {name} was not found. On Debian or Ubuntu install it with: "
            f"apt-get install {packages}"
        )
    return program


def wanted(product: str) -> str:
    """The version that the environment asks for: "mariadb11.8" for MARIADB_VERSION=11.8, else ""."""
    version = os.environ.get(f"{product.upper()}_VERSION", "")
    return f"{product}{version}" if version else ""


@cache
def fetch(name: str) -> Path:
    """The usr folder of what tools/fetch_debian.sh knows under this name; the first time takes a minute.

    Raises ServerError, with the reason, if it cannot be had.
    """
    try:
        result = subprocess.run(
            [FETCH, name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=FETCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"There is no {name}: {error}") from None
    if result.returncode != 0:
        raise ServerError(f"There is no {name}: {result.stderr.strip()}")
    return Path(result.stdout.splitlines()[-1]) / "usr"
