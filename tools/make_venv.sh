#!/bin/sh
# Makes the virtual environment named by the only argument, with a pip that knows --group.
set -eu

venv=$1
here=$(dirname "$0")
python=$("$here/find_python.sh")
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    cat >&2 <<MESSAGE
$python cannot make virtual environments: its modules venv and ensurepip are missing.
  Debian, Ubuntu: apt-get install python$version-venv
  elsewhere:      the package of your system that has Python's venv module
or name another Python: make PYTHON=/path/to/python3 ...
MESSAGE
    exit 1
fi

echo "Making $venv with Python $version ($python)"
"$python" -m venv --clear "$venv"
# The pip that comes with Python 3.10 to 3.13 is older than 25.1, which brought --group.
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
