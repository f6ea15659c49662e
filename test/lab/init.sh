#!/bin/sh
# First process of a node: init.sh NAME NUMBER ROOT DISK
#
# Turns fresh namespaces into a machine: a port on the underlay, a root that keeps
# what is written to it on DISK, its own /dev /proc /sys and cgroups. Then boots it.
set -eu
name=$1 number=$2 root=$3 disk=$4
here=$(dirname "$0")
mount --make-rprivate /
echo "$name" >/proc/sys/kernel/hostname

# /proc is still the lab's, so 1 is the lab's first process there; to a program in
# our pid namespace 1 is this one. A port may be left from before a power-off: the
# kernel takes network namespaces down in its own time.
underlay() { nsenter --net=/proc/1/ns/net ip "$@"; }
underlay link del "vm$number" 2>/dev/null || true
underlay link add "vm$number" type veth peer name eth0 address "02:77:00:00:00:$(printf %02x "$number")" netns 1
underlay link set "vm$number" master ul0 up
ip -batch - <<BATCH
link set lo up
addr add 192.168.77.$number/24 dev eth0
link set eth0 up
route add default via 192.168.77.254
BATCH

cd "$disk"
mkdir -p upper work root docker containerd
mount -t overlay -o "lowerdir=$root,upperdir=upper,workdir=work" overlay root
cd root
install -D -m 755 "$here/boot.sh" usr/local/sbin/lab-boot
install -D -m 755 "$here/engine.sh" usr/local/sbin/lab-engine

mkdir -p proc sys dev run var/lib/docker var/lib/containerd .host
# An engine's own overlays cannot lie on an overlay.
mount --bind ../docker var/lib/docker
mount --bind ../containerd var/lib/containerd
cgroups=$(cat /proc/self/cgroup)
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || cgroups=v2
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755 dev dev

mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mkdir dev/net dev/pts dev/shm
mknod -m 666 dev/net/tun c 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr

# The cgroup namespace makes the node's own groups the root of what it mounts here.
if [ "$cgroups" = v2 ]; then
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	# A group with members cannot hand controllers to its children.
	mkdir sys/fs/cgroup/init.scope
	echo 0 >sys/fs/cgroup/init.scope/cgroup.procs
	for controller in $(cat sys/fs/cgroup/cgroup.controllers); do
		echo "+$controller" >sys/fs/cgroup/cgroup.subtree_control || true
	done
else
	mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
	echo "$cgroups" | while IFS=: read -r _ controllers _; do
		case $controllers in "" | name=*) continue ;; esac
		mkdir "sys/fs/cgroup/$controllers"
		mount -t cgroup -o "$controllers" cgroup "sys/fs/cgroup/$controllers"
		case $controllers in *,*)
			for one in $(echo "$controllers" | tr , ' '); do
				ln -s "$controllers" "sys/fs/cgroup/$one"
			done ;;
		esac
	done
fi

mkdir run/lock
pivot_root . .host
cd /
umount -l /.host
exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	tini -- lab-boot </dev/null >/var/log/lab-boot.log 2>&1
