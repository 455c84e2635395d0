#!/bin/bash
# Makes kernel and initramfs of the test VM in a cache folder, from Debian packages that are unpacked there and not
# installed: linux-image-cloud-amd64 (27 MB to fetch) and busybox-static (1 MB).
#
#   prepare.sh FOLDER [--offline]     FOLDER/vmlinuz, FOLDER/initramfs.gz, FOLDER/agent
#
# Says in one line what is missing, and ends with 77 then. `--offline`: nothing is fetched, only what is there counts.
set -u
here=$(dirname "$(readlink -f "$0")")
folder=$1 offline=${2:-}
missing() { echo "$*"; exit 77; }

[ "$(uname -m)" = x86_64 ] || missing "the VM's kernel is for x86_64"
command -v cc >/dev/null || missing "a C compiler (apt-get install gcc libc6-dev)"
mkdir -p "$folder/packages" && cd "$folder" || exit 1
exec 9>lock
flock 9

wanted=$(cat "$here/init" "$here/agent.c" "$here/prepare.sh" | sha256sum | cut -d' ' -f1)
[ "$(cat stamp 2>/dev/null)" = "$wanted" ] && [ -s initramfs.gz ] && [ -s vmlinuz ] && [ -x agent ] && exit 0

fetch() { # pattern of the file, package
	compgen -G "packages/$1" >/dev/null && return
	[ "$offline" = --offline ] && missing "the package $2 in $folder/packages (./ferrite test, run as root, fetches it)"
	command -v apt-get >/dev/null || missing "apt-get, to fetch $2"
	local name=$2
	if [ "$name" = linux-image-cloud-amd64 ]; then # a name for the newest one
		name=$(apt-cache depends "$name" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	fi
	if [ -z "$name" ] || ! (cd packages && apt-get download -q "$name" >../fetch.log 2>&1); then
		missing "the Debian package $2: apt-get download failed ($(tail -n 1 fetch.log 2>/dev/null)); try apt-get update"
	fi
}
fetch 'linux-image-[0-9]*.deb' linux-image-cloud-amd64
fetch 'busybox-static_*.deb' busybox-static

rm -rf unpacked root && mkdir -p unpacked root/bin root/modules
for package in packages/*.deb; do dpkg-deb -x "$package" unpacked || missing "a whole $package (remove it and try again)"; done
cp unpacked/boot/vmlinuz-* vmlinuz
cc -O2 -Wall -static -o agent "$here/agent.c" || missing "a static C library (apt-get install libc6-dev)"
cp unpacked/bin/busybox root/bin/busybox
ln -s busybox root/bin/sh
cp agent root/bin/agent
install -m 755 "$here/init" root/init

# The driver and what it depends on, what is needed first in front.
modules=$(echo unpacked/lib/modules/*)
declare -A taken
take() {
	local file at needs
	file=$(find "$modules/kernel" -name "$1.ko" -o -name "${1//_/-}.ko" | head -n 1)
	[ -n "$file" ] && [ -z "${taken[$1]:-}" ] || return 0 # built in, or there
	taken[$1]=1
	needs=$(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | head -n 1)
	for at in ${needs//,/ }; do take "$at"; done
	cp "$file" "root/modules/$1.ko"
	echo "$1" >>root/modules/order
}
take virtio_pci
take virtio_net
(cd root && find . | ../unpacked/bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >initramfs.gz || exit 1
rm -rf unpacked root
echo "$wanted" >stamp
