"""Runs tox on every Python that is on PATH, under pyenv or fetched from Debian, and says which are missing.

    tools/run_tox.py [--ends] [TOX ARGUMENT...]

`--ends` runs the oldest and the newest environment alone. In CI (CI=true) what is missing is fetched by
tools/fetch_debian.sh, and it is an error when one of these two has no interpreter; elsewhere missing ones are
skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}


def environments() -> list[str]:
    """Return the names of tox's environments, oldest first, as tox.ini lists them."""
    tox = [sys.executable, "-m", "tox", "list", "--no-desc", "-q"]
    listed = subprocess.run(tox, cwd=ROOT, check=True, capture_output=True, text=True)
    return [line.strip() for line in listed.stdout.splitlines() if line.startswith("py3")]


def pyenv_root() -> Path:
    """Return where pyenv keeps its Pythons, whether or not there is a pyenv."""
    return Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def interpreter(version: str) -> str | None:
    """Return a working Python of a version such as "3.12", or None."""
    own = shutil.which(f"python{version}")
    under_pyenv = sorted(
        (pyenv_root() / "versions").glob(f"{version}.*/bin/python"),
        key=lambda path: [int(part) for part in path.parts[-3].split(".") if part.isdigit()],
        reverse=True,
    )
    for candidate in (own, *map(str, under_pyenv), fetched(version)):
        # A shim of pyenv's may be on PATH for a version that it then refuses to start.
        if candidate and answers(candidate, version):
            return candidate
    return None


def fetched(version: str) -> str | None:
    """Return the Python that tools/fetch_debian.sh has unpacked, or unpacks in CI; None if there is none."""
    fetch = [ROOT / "tools" / "fetch_debian.sh", *([] if IN_CI else ["--cached"]), f"python{version}"]
    result = subprocess.run(fetch, check=False, capture_output=True, text=True)
    return f"{result.stdout.strip()}/usr/bin/python{version}" if result.returncode == 0 else None


def answers(python: str, version: str) -> bool:
    """Tell whether this interpreter starts, is of this version, and has its standard modules."""
    code = "import sqlite3, ssl, sys; print('%d.%d' % sys.version_info[:2])"
    started = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
    return started.stdout.strip() == version


def python_of(environment: str) -> str:
    """Return "3.12" for "py312-django60"."""
    digits = environment.partition("-")[0].removeprefix("py")
    return f"{digits[0]}.{digits[1:]}"


def main() -> int:
    """Run tox, with each interpreter found offered to it."""
    arguments = sys.argv[1:]
    names = environments()
    ends = [names[0], names[-1]]
    if "--ends" in arguments:
        arguments.remove("--ends")
        names = ends

    versions = dict.fromkeys(map(python_of, names))
    found = {version: path for version in versions if (path := interpreter(version))}
    missing = [name for name in names if python_of(name) not in found]
    for version in versions:
        print(f"Python {version}: {found.get(version, 'NOT FOUND')}")
    for name in missing:
        print(f"SKIPPED {name}: no Python {python_of(name)} on PATH, under {pyenv_root()} or fetched")
    if IN_CI and set(ends) & set(missing):
        print("In CI the oldest and the newest environment must run.")
        return 1
    present = [name for name in names if name not in missing]
    if not present:
        print("No environment can run.")
        return 1

    command = [sys.executable, "-m", "tox", "run-parallel", "--parallel-no-spinner"]
    command += ["--parallel", "2", "-e", ",".join(present)]
    command += ["--discover", *found.values(), *arguments]
    sys.stdout.flush()
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
