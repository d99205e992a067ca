#!/bin/sh
# Fetches a server or a Python from a newer distribution of Debian, for the tests, and prints its folder:
#
#   tools/fetch_debian.sh [--cached] NAME
#
# NAME is mysql, mariadb11.8, postgresql17, postgresql18, postgresql19, python3.14 or python3.15: Debian's stable
# releases have MariaDB in MySQL's place, and one version of each of the others. Nothing is installed: the
# packages, with the libraries and the C library that they need, are unpacked once below
# ${XDG_CACHE_HOME:-~/.cache}/django-rwrouter/ (root's below /var/cache: PostgreSQL runs as another user). They come from the mirror that this machine's apt uses already,
# and their signatures are checked. No root is needed. With --cached, it fails instead of fetching anything.
set -eu

fail() {
    echo "tools/fetch_debian.sh: $*" >&2
    exit 1
}

cached=
[ "${1:-}" != --cached ] || { cached=1; shift; }
name=${1:-}
case $name in
mysql) distributions=sid packages="mysql-server-core mysql-client-core" program=sbin/mysqld ;;
mariadb11.8) distributions=trixie packages="mariadb-server-core mariadb-client" program=sbin/mariadbd ;;
postgresql17) distributions=trixie packages=postgresql-17 program=lib/postgresql/17/bin/postgres ;;
postgresql18) distributions=sid packages=postgresql-18 program=lib/postgresql/18/bin/postgres ;;
postgresql19) distributions="experimental sid" packages=postgresql-19 program=lib/postgresql/19/bin/postgres ;;
python3.14 | python3.15) distributions=sid packages=$name program=bin/$name ;;
*) fail "there is no '$name'; see the top of the file for the names" ;;
esac

if [ -n "${XDG_CACHE_HOME:-}" ]; then
    cache=$XDG_CACHE_HOME/django-rwrouter
elif [ "$(id -u)" = 0 ]; then
    cache=/var/cache/django-rwrouter
else
    cache=$HOME/.cache/django-rwrouter
fi
folder=$cache/$name

finish_if_there() {
    if [ -e "$folder/version" ]; then
        printf '%s\n' "$folder"
        exit 0
    fi
}

finish_if_there
[ -z "$cached" ] || fail "$name has not been fetched yet: run tools/fetch_debian.sh $name"
for command in apt-get dpkg flock; do
    command -v "$command" >/dev/null 2>&1 ||
        fail "$name is taken from Debian's packages, and $command is not there"
done

mkdir -p "$cache"
exec 9>"$cache/$name.lock"
flock 9 # two at once would both fetch it
finish_if_there

work=$cache/$name.new
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/none" "$work/unpacked"
: >"$work/status"

# Where this machine gets Debian's packages from.
mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' \
    'Created-By: Packages' | sed -n 's/^Debian|Debian|main|//p' | head -n 1)
[ -n "$mirror" ] || fail "this machine's apt has no mirror of Debian (or needs: apt-get update)"
# Without the file, apt looks among the keys that the system trusts for everything.
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keys" ] && trust="[signed-by=$keys] " || trust=
for distribution in $distributions; do
    echo "deb $trust$mirror $distribution main"
done >"$work/sources.list"
# Experimental completes sid, but for Perl, which comes before what is built for it.
cat >"$work/preferences" <<END
Package: *
Pin: release a=experimental
Pin-Priority: 500

Package: perl* libperl*
Pin: release a=unstable
Pin-Priority: 900
END
cat >"$work/apt.conf" <<END
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
Dir::Log "$work";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/none";
Dir::Etc::preferences "$work/preferences";
Dir::Etc::preferencesparts "$work/none";
APT::Architecture "$(dpkg --print-architecture)";
APT::Architectures { "$(dpkg --print-architecture)"; };
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
// Some images clean the system's own cache after each command.
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
END

# The proxy, if this machine has one, is in the system's configuration, which is read before ours.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get --config-file="$work/apt.conf" --quiet --quiet --yes "$@" >&2
}
echo "Fetching $name from Debian's distribution $distributions (once)" >&2
apt update || fail "the list of packages cannot be read from $mirror"
# shellcheck disable=SC2086  # several packages
apt --download-only install $packages patchelf || fail "the packages cannot be fetched from $mirror"

for package in "$work"/archives/*.deb; do
    dpkg --extract "$package" "$work/unpacked" || fail "$package cannot be unpacked"
done
[ -e "$work/unpacked/usr/$program" ] || fail "the packages have no usr/$program"

# Each program names its loader by its path: this machine's, whose C library is older. They get the one that
# came with them. RPATH rather than RUNPATH, as the latter says nothing of what a library needs in its turn.
loader=$(cd "$work/unpacked" && echo usr/lib/*/ld-linux*.so.*)
libraries=$folder/${loader%/*}
patchelf() {
    "$work/unpacked/$loader" --library-path "$work/unpacked/${loader%/*}" "$work/unpacked/usr/bin/patchelf" "$@"
}
find "$work/unpacked/usr/bin" "$work/unpacked/usr/sbin" "$work/unpacked"/usr/lib/*/*/bin -type f ! -name patchelf \
    2>/dev/null | while read -r file; do
    patchelf --print-interpreter "$file" >/dev/null 2>&1 || continue
    # In one step, patchelf 0.18 breaks a program that is not relocatable: Python.
    patchelf --force-rpath --set-rpath "$libraries:$folder/usr/lib/mysql/private" "$file" &&
        patchelf --set-interpreter "$folder/$loader" "$file" || fail "$file cannot be patched"
done

date -u +%Y-%m-%d >"$work/unpacked/version"
rm -rf "$folder"
mv "$work/unpacked" "$folder"
printf '%s\n' "$folder"
