#!/usr/bin/env bash
# Run the tests, compiled, on the newest Python that pyproject.toml names, and compiled by the newest GCC. Both are those of
# Debian sid, in a root directory of their own. Needs root, a Debian machine, and debootstrap.
#
#   tools/newest_python.sh [TESTS...]
#
# PYTHON=python3.14     another Python of sid
# ROOT=DIRECTORY        where the root directory is made, and found again the next time; delete it for newer packages
set -eu
cd "$(dirname "$0")/.."
newest=$(sed -n 's/.*Programming Language :: Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml | sort -V | tail -n 1)
python=${PYTHON:-python$newest}
root=${ROOT:-$PWD/.sid}
certificates=/etc/ssl/certs/ca-certificates.crt

make_root() {
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    export http_proxy="${http_proxy-}" https_proxy="${https_proxy-}"
    rm -rf "$root.new"
    debootstrap --variant=minbase --include=ca-certificates sid "$root.new" "$(mirror)"
    apt-config dump Acquire >"$root.new/etc/apt/apt.conf.d/00host"
    mv "$root.new" "$root"
}

mirror() { # the first repository of this machine's apt that has sid, too
    apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | sort -u | while read -r uri; do
        /usr/lib/apt/apt-helper -qq download-file "$uri/dists/sid/InRelease" /dev/null 2>/dev/null && echo "$uri" && break
    done
}

inside() { # inside COMMAND...: run it in the root directory; what it mounts and starts ends with it
    unshare --mount --pid --fork --kill-child env -u TMPDIR PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 sh -c '
        mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"' "$root" "$@"
}

copy_settings() { # what this machine needs to reach the package registries
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    cp "$certificates" "$root$certificates"
    for file in /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf"; do
        if [ -f "$file" ]; then mkdir -p "$root${file%/*}" && cp "$file" "$root$file"; fi
    done
}

copy_sources() { # the working tree as it is; virtual environments and objects of the last time stay
    mkdir -p "$root/srv/trunkline"
    find "$root/srv/trunkline" -mindepth 1 -maxdepth 1 -not -name '.venv*' -not -name build -exec rm -rf {} +
    git ls-files -z --cached --others --exclude-standard |
        tar --create --null --ignore-failed-read --files-from - 2>/dev/null | tar --extract --directory "$root/srv/trunkline"
}

test -d "$root" || make_root
copy_settings
if [ ! -e "$root/usr/include/$python/Python.h" ] || [ ! -e "$root/usr/bin/systemd-socket-activate" ]; then
    inside sh -ec "apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
            gcc libc6-dev make openssl libssl-dev redis-server systemd $python-dev $python-venv"
fi
copy_sources
TRUNKLINE_EXTENSIONS=require inside make -C /srv/trunkline test PYTHON="$python" VENV=".venv-$python" TESTS="$*"
