#!/bin/sh
# First process of a node: init.sh NAME NUMBER ROOT DISK INIT
#
# Turns fresh namespaces into a machine: a port on the underlay, a root that keeps
# what is written to it on DISK, its own /dev /proc /sys and cgroups. Then boots it, by our own script or by systemd.
set -eu
name=$1 number=$2 root=$3 disk=$4 init=$5
here=$(dirname "$0")
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
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
		folder=$controllers options=$controllers
		# systemd's tree, too: where one that the kernel has is not mounted, containerd hears of no memory that ran out.
		case $controllers in
		"") continue ;;
		name=*) folder=${controllers#name=} options=none,$controllers ;;
		esac
		mkdir "sys/fs/cgroup/$folder"
		mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$folder"
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
exec </dev/null >/var/log/lab-boot.log 2>&1
if [ "$init" = systemd ]; then
	units=/run/systemd/system
	mkdir -p $units/multi-user.target.wants
	cat >$units/lab-booted.service <<-'UNIT'
		[Unit]
		DefaultDependencies=no
		After=multi-user.target
		[Service]
		ExecStart=/bin/sh -c 'systemctl is-system-running --wait >/run/lab-booting; systemctl --failed --plain --no-legend >>/run/lab-booting; mv /run/lab-booting /run/lab-booted'
	UNIT
	ln -s ../lab-booted.service $units/multi-user.target.wants
	# What has no sense here, or is the host's.
	for unit in systemd-sysctl.service systemd-modules-load.service modprobe@.service systemd-journald-audit.socket \
		dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
		systemd-logind.service getty.target e2scrub_reap.service docker-registry.service timers.target; do
		ln -s /dev/null $units/$unit
	done
	# What of the kernel is not the node's alone is not its systemd's to set.
	for shared in fs kernel vm; do
		mount --bind "/proc/sys/$shared" "/proc/sys/$shared"
		mount -o remount,bind,ro "/proc/sys/$shared"
	done
	# It leaves devices, clocks and the machine's power alone where it is told that it is in a container.
	exec env -i container=skein-lab PATH="$PATH" /sbin/init
fi
exec env -i HOME=/root LANG=C.UTF-8 PATH="$PATH" tini -- lab-boot
