#!/bin/sh
# Builds one root file system: root.sh SUITE TARGET MIRROR PACKAGES
#
# Runs under a lock on TARGET, in mount and pid namespaces of its own, so that a
# builder that is killed takes its children along. TARGET appears by a rename and
# is whole; what a killed builder left is TARGET.half, and the next one removes it.
set -eu
suite=$1 target=$2 mirror=$3 packages=$4
[ ! -d "$target" ] || exit 0
rm -rf "$target.half"

# dpkg syncs every file it writes. On a tmpfs that costs nothing: half the time.
work=$target.build
mkdir -p "$work" "$target.half"
mount --make-rprivate /
mount -t tmpfs -o mode=755 skein-lab-root "$work"
export TMPDIR="$work"

# Check-Valid-Until: a mirror that was frozen for a while still serves.
mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" \
	--aptopt='APT::Install-Recommends "false"' \
	--aptopt='Acquire::Check-Valid-Until "false"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	"$suite" "$work/root" "$mirror"

# The node's own boot script starts the engine (boot.sh); what is in rc3.d later,
# a test has installed. Names and resolvers are each node's.
rm -f "$work"/root/etc/rc[0-6S].d/* "$work/root/etc/hostname" "$work/root/etc/resolv.conf"

cp -a "$work/root/." "$target.half"
umount "$work"
rmdir "$work"
mv "$target.half" "$target"
