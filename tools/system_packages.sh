#!/bin/sh
# Sees that this machine has what the named needs ask for:
#
#   tools/system_packages.sh [--dry-run] NEED...
#
# where a need is one of: venv compiler headers mariadb postgresql redis galera haproxy pgbouncer
# pgpool chromium fonts
#
# It looks for the thing itself (a command, a header), not for a package's name, so that nothing
# is installed where another package already brought it. On Debian and Ubuntu, as root or with
# sudo, it installs what is missing. Elsewhere it says what to install, and fails.
# --dry-run only says it. No service is started, stopped or configured here.
set -eu

here=$(dirname "$0")
PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin
dry_run=

if [ "${1:-}" = --dry-run ]; then
    dry_run=yes
    shift
fi

python=$("$here/find_python.sh")
[ ! -x .venv/bin/python ] || python=.venv/bin/python
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

has() { command -v "$1" >/dev/null 2>&1; }

python_header() {
    "$python" -c 'import os, sysconfig
include = sysconfig.get_path("include")
raise SystemExit(not os.path.exists(os.path.join(include, "Python.h")))'
}

# One line for each thing: debian packages | what it is, for everybody else.
missing_of() {
    case $1 in
    venv)
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            echo "python$version-venv|Python's modules venv and ensurepip"
        ;;
    compiler)
        { has cc && has make; } || echo "build-essential|a C compiler (cc) and make"
        ;;
    headers)
        python_header || echo "python$version-dev|the header files of Python $version"
        has pkg-config || echo "pkg-config|pkg-config"
        ;;
    mariadb)
        { has mariadbd && has mariadb-install-db; } ||
            echo "mariadb-server|the MariaDB server 10.6 or newer (mariadbd, mariadb-install-db)"
        { has pkg-config && { pkg-config --exists libmariadb || pkg-config --exists mariadb; }; } ||
            has mariadb_config || echo "libmariadb-dev|the headers of MariaDB's client library"
        ;;
    galera)
        # A library, which distributions keep in different places: see launcher/galera.py.
        ls /usr/lib/galera/libgalera_smm.so /usr/lib64/galera-4/libgalera_smm.so \
            /usr/lib/libgalera_smm.so 2>/dev/null | grep -q . ||
            echo "galera-4|the Galera library 4 (libgalera_smm.so)"
        ;;
    haproxy)
        has haproxy || echo "haproxy|HAProxy (haproxy)"
        ;;
    pgbouncer)
        has pgbouncer || echo "pgbouncer|PgBouncer (pgbouncer)"
        ;;
    pgpool)
        has pgpool || echo "pgpool2|pgpool-II (pgpool)"
        ;;
    redis)
        has redis-server || echo "redis-server|the Redis server (redis-server)"
        ;;
    postgresql)
        # Debian keeps them off PATH, in a folder for each version. No headers: psycopg[binary]
        # brings a libpq of its own.
        ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { has postgres && has initdb; } ||
            echo "postgresql|the PostgreSQL server 14 or newer (postgres, initdb, pg_basebackup)"
        ;;
    chromium)
        has chromium || has chromium-browser || has google-chrome || echo "chromium|Chromium"
        ;;
    fonts)
        # A browser without any font draws empty boxes.
        [ "$(uname)" != Linux ] ||
            find /usr/share/fonts /usr/local/share/fonts -name '*.[ot]tf' 2>/dev/null | grep -q . ||
            echo "fonts-dejavu-core|a TrueType font, such as DejaVu"
        ;;
    *)
        echo "tools/system_packages.sh: unknown need \"$1\"" >&2
        exit 2
        ;;
    esac
}

missing=
for need in "$@"; do
    lines=$(missing_of "$need")
    [ -z "$lines" ] || missing="$missing$lines
"
done
[ -n "$missing" ] || exit 0

# Each once, on one line.
packages=$(printf '%s' "$missing" | cut -d '|' -f 1 | sort -u | tr '\n' ' ')
packages=${packages% }

say_what_to_do() {
    echo "This machine lacks:" >&2
    printf '%s' "$missing" | sort -u | sed 's/^[^|]*|/  - /' >&2
    if has apt-get; then
        echo "Install it as root, then run make again:" >&2
        echo "  apt-get update && apt-get install $packages" >&2
    else
        echo "Install it with your system's package manager, then run make again." >&2
        echo "(On Debian or Ubuntu the packages are: $packages.)" >&2
    fi
}

if [ -n "$dry_run" ] || ! has apt-get; then
    say_what_to_do
    exit 1
fi

if [ "$(id -u)" = 0 ]; then
    as_root=
elif has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
else
    say_what_to_do
    exit 1
fi

echo "Installing $packages"
apt() {
    # shellcheck disable=SC2086  # empty for root
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}
apt update
# shellcheck disable=SC2086  # several packages
apt install --no-install-recommends $packages

# An answer now is better than a compiler's error later.
"$0" --dry-run "$@"
