#!/bin/sh
# Prints the path of a Python that is new enough: $PYTHON, else the first 3.10+ found on PATH,
# else the newest under pyenv. `python3` itself comes first: it is the one people expect.
set -eu

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

path_of() {
    "$1" -c 'import sys; print(sys.executable)'
}

if [ -n "${PYTHON:-}" ]; then
    if new_enough "$PYTHON"; then
        path_of "$PYTHON"
        exit 0
    fi
    echo "PYTHON=$PYTHON is no Python 3.10 or newer." >&2
    exit 1
fi

pyenv_root=${PYENV_ROOT:-${HOME:-}/.pyenv}
for candidate in python3 python3.13 python3.12 python3.11 python3.10 \
    "$pyenv_root"/versions/3.13.*/bin/python "$pyenv_root"/versions/3.12.*/bin/python \
    "$pyenv_root"/versions/3.11.*/bin/python "$pyenv_root"/versions/3.10.*/bin/python; do
    if new_enough "$candidate"; then
        path_of "$candidate"
        exit 0
    fi
done

cat >&2 <<'MESSAGE'
No Python 3.10 or newer was found. Install one (Debian, Ubuntu: apt-get install python3
python3-venv), or name it: make PYTHON=/path/to/python3 ...
MESSAGE
exit 1
