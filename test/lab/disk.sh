#!/bin/sh
# Makes a machine's disk: disk.sh SUITE TARGET MIRROR PACKAGES
#
# TARGET is a folder with `disk`, an ext4 file system, and the kernel and the
# initial ramdisk that boot it. It appears whole or not at all, as a root does.
set -eu
suite=$1 target=$2 mirror=$3 packages=$4
[ ! -d "$target" ] || exit 0
root=$target.root
rm -rf "$target.half"
sh "$(dirname "$0")/root.sh" "$suite" "$root" "$mirror" "$packages"

mkdir "$target.half"
cp "$root"/boot/vmlinuz-* "$target.half/kernel"
cp "$root"/boot/initrd.img-* "$target.half/initrd"
# The address is on the kernel's command line; the generator makes a network of it. Nothing answers where the
# machine would look for newer packages.
chroot "$root" systemctl --quiet enable systemd-networkd systemd-network-generator
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer
mke2fs -q -t ext4 -d "$root" "$target.half/disk" 4G
rm -rf "$root" "$root.lock"
mv "$target.half" "$target"
