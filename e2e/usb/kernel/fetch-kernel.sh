#!/bin/sh
# fetch-kernel.sh FOLDER: the distribution's current kernel, unpacked into that empty folder and not installed: this machine's own boot is left alone.
set -e
cd "$1"
name=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$name" ] || { echo 'no package linux-image-amd64: this needs Debian on amd64, and apt-get update' >&2; exit 1; }
apt-get download -q "$name"
dpkg-deb --extract linux-image-*.deb .
rm linux-image-*.deb
depmod --basedir "$PWD" "$(ls lib/modules)"
