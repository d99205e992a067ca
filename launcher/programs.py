"""Where the server programs are."""

import os
import shutil

from launcher.process import ServerError

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/opt/homebrew/bin")
"""Distributions put servers where an ordinary user's PATH does not look."""


def find_program(name: str, *, packages: str) -> str:
    """Path of a program.

    Raises ServerError, with the Debian packages to install, if it is not there.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    program = shutil.which(name, path=path)
    if program is None:
        raise ServerError(
            f"The program {name} was not found. On Debian or Ubuntu install it with: "
            f"apt-get install {packages}"
        )
    return program
