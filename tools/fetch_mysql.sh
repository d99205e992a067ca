#!/bin/sh
# Fetches a MySQL server from Debian's unstable distribution, for the tests, and prints its folder:
#
#   tools/fetch_mysql.sh [--cached]
#
# Debian's stable releases have MariaDB in its place. Nothing is installed: the packages, with the
# libraries and the C library that they need, are unpacked below
# ${XDG_CACHE_HOME:-~/.cache}/django-rwrouter/, 65 MB of download and 230 MB on the disk, once.
# They come from the mirror that this machine's apt uses already, and their signatures are checked.
# No root is needed. With --cached, it fails instead of fetching anything.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/django-rwrouter
folder=$cache/mysql
packages="mysql-server-core mysql-client-core"

fail() {
    echo "tools/fetch_mysql.sh: $*" >&2
    exit 1
}

finish_if_there() {
    if [ -e "$folder/version" ]; then
        printf '%s\n' "$folder"
        exit 0
    fi
}

finish_if_there
[ "${1:-}" != --cached ] || fail "MySQL has not been fetched yet: run tools/fetch_mysql.sh"
for program in apt-get dpkg flock; do
    command -v "$program" >/dev/null 2>&1 ||
        fail "MySQL is taken from Debian's packages, and $program is not there"
done

mkdir -p "$cache"
exec 9>"$cache/mysql.lock"
flock 9 # two at once would both fetch it
finish_if_there

work=$cache/mysql.new
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
echo "deb $trust$mirror sid main" >"$work/sources.list"
cat >"$work/apt.conf" <<END
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
Dir::Log "$work";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/none";
Dir::Etc::preferences "/dev/null";
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
echo "Fetching MySQL from Debian's unstable distribution (once, 65 MB)" >&2
apt update || fail "the list of packages cannot be read from $mirror"
# shellcheck disable=SC2086  # several packages
apt --download-only install $packages || fail "the packages cannot be fetched from $mirror"

for package in "$work"/archives/*.deb; do
    dpkg --extract "$package" "$work/unpacked" || fail "$package cannot be unpacked"
done
[ -e "$work/unpacked/usr/sbin/mysqld" ] || fail "the packages have no usr/sbin/mysqld"

# What neither the server nor its client reads is half of it.
find "$work/unpacked/usr/share" -mindepth 1 -maxdepth 1 ! -name mysql -exec rm -rf {} +
find "$work/unpacked/usr/bin" ! -type d ! -name mysql -exec rm -f {} +
rm -rf "$work/unpacked/etc" "$work/unpacked"/usr/lib/*/perl* "$work/unpacked"/usr/lib/*/gconv

date -u +%Y-%m-%d >"$work/unpacked/version"
rm -rf "$folder"
mv "$work/unpacked" "$folder"
printf '%s\n' "$folder"
