#!/bin/sh
# Makes this machine a node of a Skein cluster, or, with --uninstall, makes it none again.
#
#   curl -fsSL URL/install.sh | sh -s -- --token TOKEN
#
# Checks first and refuses with the missing piece and the command that mends it. Installs what is missing from the
# distribution's own packages. Safe to run twice: the node keeps its identity, the program becomes the newest.
#
# The control plane fills in its own address, and what it serves: a line "name sha256 url" for each file.
set -eu

url='@URL@'
files='@FILES@'

lib=/usr/local/lib/skein
state=/var/lib/skein-agent
settings=/etc/default/skein-agent
unit=/etc/systemd/system/skein-agent.service
initscript=/etc/init.d/skein-agent
logfile=/var/log/skein-agent.log
installlog=/var/log/skein-install.log
pidfile=/run/skein-agent.pid
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

usage() {
	cat <<USAGE
usage: sh install.sh --token TOKEN [options]
  --token TOKEN           what \`docker swarm join-token worker\` prints
  --name NAME             the node's name; the machine's own unless told
  --advertise-addr ADDR   where the other nodes reach this one; the default route's address unless told
  --builder               install what images are built with, too: git, and docker's build plugin
  --no-install            refuse instead of installing missing packages
  --no-docker-install     refuse if there is no Docker, but install other missing packages
  --uninstall             tell the cluster, and remove everything that Skein put on this machine
USAGE
}

main() {
	token='' name='' advertise='' install=yes docker_install=yes builder='' uninstall=''
	while [ $# -gt 0 ]; do
		case $1 in
		--token | --name | --advertise-addr)
			[ $# -ge 2 ] || refuse "$1 needs a value" "$(usage)"
			case $1 in
			--token) token=$2 ;;
			--name) name=$2 ;;
			--advertise-addr) advertise=$2 ;;
			esac
			shift
			;;
		--token=*) token=${1#*=} ;;
		--name=*) name=${1#*=} ;;
		--advertise-addr=*) advertise=${1#*=} ;;
		--builder) builder=yes ;;
		--no-install) install='' docker_install='' ;;
		--no-docker-install) docker_install='' ;;
		--uninstall) uninstall=yes ;;
		-h | --help)
			usage
			exit 0
			;;
		*) refuse "no such option: $1" "$(usage)" ;;
		esac
		shift
	done

	[ "$(id -u)" = 0 ] || refuse "this needs root" "put sudo before sh: curl -fsSL $url/install.sh | sudo sh -s -- ..."
	if [ -n "$uninstall" ]; then
		remove_all
		return
	fi
	[ -n "$token" ] || [ -f "$state/identity.json" ] ||
		refuse "--token is missing" "docker swarm join-token worker prints the whole line"

	[ -e "$lib" ] || [ -e "$state" ] || leave_as_found
	check_machine
	install_tools
	install_wireguard
	start_engine
	install_builder
	load_program
	"$lib/bun" "$lib/agent.js" preflight --url "$url" || exit 1
	set -- --url "$url" --token "$token"
	[ -z "$name" ] || set -- "$@" --name "$name"
	[ -z "$advertise" ] || set -- "$@" --advertise-addr "$advertise"
	"$lib/bun" "$lib/agent.js" join "$@" || exit 1
	trap - EXIT INT TERM HUP
	write_settings
	start_service
	say "done: the agent runs; \`docker node ls\` shows this machine in a moment"
}

# --- words

say() { printf 'skein: %s\n' "$1"; }

# refuse WHAT REMEDY...
refuse() {
	printf 'skein: %s\n' "$1" >&2
	shift
	for line; do printf '       %s\n' "$line" >&2; done
	exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# A machine that is refused is as it was, but for packages and the log of their installation.
leave_as_found() {
	trap 'rm -rf "$lib" "$state"' EXIT
	trap 'exit 1' INT TERM HUP
}

# --- the machine

check_machine() {
	[ "$(uname -s)" = Linux ] || refuse "Skein's agent runs on Linux, and this is $(uname -s)"
	case $(uname -m) in
	x86_64 | amd64) runtime=bun-linux-x64 ;;
	aarch64 | arm64) runtime=bun-linux-arm64 ;;
	*) refuse "there is no runtime for $(uname -m) processors" "x86_64 and aarch64 are supported" ;;
	esac
	[ -n "$(line_of "$runtime")" ] || refuse "this control plane serves no $runtime" \
		"it gives the runtime it runs on itself: run it on a machine of this kind, or host the file beside it"
	case $runtime in
	*x64) loader=/lib64/ld-linux-x86-64.so.2 ;;
	*) loader=/lib/ld-linux-aarch64.so.1 ;;
	esac
	[ -e "$loader" ] || refuse "this machine has no glibc, which the runtime needs ($loader is not there)" \
		"Alpine has musl instead: Debian, Ubuntu, Fedora, openSUSE, Arch and their kin will do"
	has sha256sum || refuse "sha256sum is missing" "install the coreutils package"
	if ! mkdir -p "$lib" "$state" 2>/dev/null || ! [ -w "$lib" ]; then
		refuse "$lib and $state cannot be written" "mount them read-write"
	fi
	chmod 700 "$state"
}

# The kernel's own WireGuard: asked by making an interface, since a module may be built in.
kernel_has_wireguard() {
	modprobe -q wireguard 2>/dev/null || true
	ip link add skein-trial type wireguard 2>/dev/null || return 1
	ip link del skein-trial
}

engine_is_here() { [ -S /var/run/docker.sock ] || has dockerd; }

missing_tools() {
	has curl || has wget || echo curl
	has ip || echo ip
	has bridge || echo ip
	has nft || echo nft
	has iptables || echo iptables
	has wg || echo wg
	has conntrack || echo conntrack
	has modprobe || echo modprobe
	has setsid || echo setsid
	has unshare || echo unshare
	engine_is_here || echo docker
}

package_manager() {
	for each in apt-get dnf zypper pacman; do
		if has "$each"; then
			echo "$each"
			return
		fi
	done
}

# package_of MANAGER TOOL
package_of() {
	case $2:$1 in
	ip:dnf) echo iproute ;;
	ip:*) echo iproute2 ;;
	nft:*) echo nftables ;;
	iptables:dnf) echo iptables-nft ;;
	iptables:*) echo iptables ;;
	wg:*) echo wireguard-tools ;;
	conntrack:apt-get) echo conntrack ;;
	conntrack:*) echo conntrack-tools ;;
	modprobe:*) echo kmod ;;
	setsid:* | unshare:*) echo util-linux ;;
	curl:*) echo curl ;;
	# The others' kernels have WireGuard, and their own packages no program for it.
	wireguard-go:apt-get) echo wireguard-go ;;
	docker:apt-get)
		echo docker.io
		# Since 26, Debian has the engine's command line in a package of its own.
		if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; fi
		;;
	docker:dnf)
		# Fedora's; Docker's, where its repository is; Amazon's. Red Hat and its kin have none of their own.
		for each in moby-engine docker-ce docker; do
			if dnf -q list "$each" >/dev/null 2>&1; then
				echo "$each"
				return
			fi
		done
		;;
	docker:*) echo docker ;;
	esac
}

# install_line MANAGER PACKAGE...
install_line() {
	manager=$1
	shift
	case $manager in
	apt-get) echo "apt-get install -y --no-install-recommends $*" ;;
	dnf) echo "dnf install -y $*" ;;
	zypper) echo "zypper --non-interactive install $*" ;;
	pacman) echo "pacman -S --noconfirm --needed $*" ;;
	esac
}

install_tools() {
	missing=$(missing_tools | sort -u | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	manager=$(package_manager)
	[ -n "$manager" ] || refuse "missing: $missing" "install them by the means of this distribution, then run this line again"
	# Whether there is a package is asked of lists that may not be here yet.
	[ -z "$install" ] || update_lists "$manager"
	packages=$(for tool in $missing; do package_of "$manager" "$tool"; done | sort -u | tr '\n' ' ')
	case $missing in *docker*)
		docker=$(package_of "$manager" docker | tr '\n' ' ')
		[ -n "$docker" ] || refuse "Docker is missing, and this distribution has no package of it" \
			"https://docs.docker.com/engine/install has one for it; then run this line again"
		[ -n "$docker_install" ] || refuse "Docker is missing" \
			"$(install_line "$manager" "$docker"), or see https://docs.docker.com/engine/install"
		;;
	esac
	line=$(install_line "$manager" "$packages")
	[ -n "$install" ] || refuse "missing: $missing" "$line"
	say "installing what is missing: $packages"
	install_packages "$line" || {
		tail -n 5 "$installlog" >&2
		refuse "$line: failed" "mend that (the whole story is in $installlog), then run this line again"
	}
	missing=$(missing_tools | sort -u | tr '\n' ' ')
	[ -z "$missing" ] || refuse "still missing: $missing" "install it by hand, then run this line again"
}

# What the kernel cannot do, a program does. Where there is none either, the preflight refuses, with remedies for both.
install_wireguard() {
	! kernel_has_wireguard && ! has wireguard-go || return 0
	manager=$(package_manager)
	package=$(package_of "$manager" wireguard-go)
	[ -n "$package" ] && [ -n "$install" ] || return 0
	say "the kernel has no WireGuard; installing a program that does its work: $package"
	update_lists "$manager"
	install_packages "$(install_line "$manager" "$package")" ||
		say "$package cannot be installed: $(tail -n 1 "$installlog")"
}

# A node builds images where it has git and docker's command line; since 23 that has BuildKit in a package of its own,
# under one name in Docker's repository and under another in distributions. Without, the node is a node all the same.
install_builder() {
	[ -n "$builder" ] || return 0
	! { has git && has docker && docker buildx version >/dev/null 2>&1; } || return 0
	manager=$(package_manager)
	[ -z "$install" ] || update_lists "$manager"
	packages=''
	has git || packages=git
	has docker || packages="$packages docker-cli"
	if ! docker buildx version >/dev/null 2>&1; then
		for each in docker-buildx-plugin docker-buildx; do
			if has_package "$manager" "$each"; then
				packages="$packages $each"
				break
			fi
		done
	fi
	[ -n "$packages" ] || return 0
	line=$(install_line "$manager" "$packages")
	[ -n "$install" ] || refuse "missing for --builder: $packages" "$line"
	say "installing what builds images: $packages"
	install_packages "$line" || say "$line: failed; this node builds nothing: $(tail -n 1 "$installlog")"
}

has_package() {
	case $1 in
	apt-get) apt-cache show "$2" ;;
	dnf) dnf -q list "$2" ;;
	zypper) zypper --non-interactive info "$2" | grep -q '^Name' ;;
	pacman) pacman -Si "$2" ;;
	*) false ;;
	esac >/dev/null 2>&1
}

# Packages of services want to know how to behave without an init.
install_packages() { DEBIAN_FRONTEND=noninteractive sh -c "$1" </dev/null >>"$installlog" 2>&1; }

# Only apt wants to be told to.
update_lists() {
	[ "$1" = apt-get ] || return 0
	say "reading the lists of packages"
	apt-get update </dev/null >>"$installlog" 2>&1 || say "apt-get update failed; going on with the lists that are here"
}

# An engine that does not come up is the preflight's to tell, which looks for what keeps it from that too.
start_engine() {
	! engine_answers || return 0
	say "starting Docker"
	if [ -d /run/systemd/system ]; then
		# One that failed several times in a row is not started again before somebody says so, though what kept it is mended.
		systemctl reset-failed docker.socket docker.service >>"$installlog" 2>&1 || true
		systemctl enable --now docker >>"$installlog" 2>&1 || return 0
	elif ! [ -x /etc/init.d/docker ] || ! /etc/init.d/docker start >>"$installlog" 2>&1; then
		# In a container the script that came with it may not raise the limits it wants to. Docker itself needs none.
		setsid dockerd </dev/null >>/var/log/docker.log 2>&1 &
	fi
	turns=0
	until engine_answers; do
		turns=$((turns + 1))
		[ "$turns" -le 60 ] || return 0
		sleep 0.5
	done
}

# A socket may be left over from an engine that is gone.
engine_answers() {
	[ -S /var/run/docker.sock ] || return 1
	! has curl || curl -s -m 10 -o /dev/null --unix-socket /var/run/docker.sock http://docker/_ping
}

# --- the program

line_of() { printf '%s\n' "$files" | while read -r file rest; do [ "$file" != "$1" ] || echo "$file $rest"; done; }

load_program() {
	load "$runtime" bun 755
	load agent.js agent.js 644
	# What the agent went to by itself, and how that went, is over.
	rm -f "$lib/trial" "$lib/trial.begun" "$lib/rejected" "$lib/bun.old"
	write_starter
	"$lib/bun" --version >/dev/null 2>&1 || refuse "the runtime does not run on this machine" \
		"it needs glibc 2.27 or later, which very old distributions have not, and on x86_64 a processor with AVX2"
}

# load NAME AS MODE: what is here already is not loaded again, what has another sum is not used.
load() {
	# shellcheck disable=SC2046
	set -- "$1" "$2" "$3" $(line_of "$1")
	sum=${5-} from=${6-}
	[ -n "$from" ] || refuse "this control plane serves no $1" "it is of another version than this script: load the script anew"
	[ "$(sum_of "$lib/$2")" != "$sum" ] || return 0
	say "loading $1"
	rm -f "$lib/$2.new"
	fetch "$from" "$lib/$2.new" || refuse "$from cannot be loaded" "check that this machine reaches $url"
	if [ "$(sum_of "$lib/$2.new")" != "$sum" ]; then
		rm -f "$lib/$2.new"
		refuse "$1 from $from is not what the control plane promised: its checksum differs" \
			"something between here and there changes it; try again, or ask who runs the control plane"
	fi
	chmod "$3" "$lib/$2.new"
	mv -f "$lib/$2.new" "$lib/$2"
}

sum_of() { sha256sum "$1" 2>/dev/null | cut -d ' ' -f 1; }

fetch() {
	if has curl; then
		curl -fsSL --retry 3 -o "$2" "$1"
	else
		wget -q -O "$2" "$1"
	fi
}

# A new program must not be its own judge: this starts it, and puts the one before it back, with the runtime it had.
write_starter() {
	cat >"$lib/start" <<'START'
#!/bin/sh
# Starts Skein's agent. A program that the agent went to by itself is on trial until it has reached the control plane: one
# that ends before, or does not get there in a minute though the one before it does, makes place for that one again.
lib=/usr/local/lib/skein
trial_seconds=${SKEIN_AGENT_TRIAL_SECONDS:-60}
export SKEIN_AGENT_LIB=$lib SKEIN_AGENT_RUNTIME=$lib/bun

fall_back() {
	printf '%s %s\n' "$(cat "$lib/trial")" "$1" >"$lib/rejected"
	[ ! -e "$lib/bun.old" ] || mv -f "$lib/bun.old" "$lib/bun"
	mv -f "$lib/agent.old.js" "$lib/agent.js"
	rm -f "$lib/trial" "$lib/trial.begun"
}

# watch PID
watch() {
	seconds=0
	before=$lib/bun
	[ ! -e "$lib/bun.old" ] || before=$lib/bun.old
	while [ -e "$lib/trial" ] && kill -0 "$1" 2>/dev/null; do
		sleep 1
		seconds=$((seconds + 1))
		[ $((seconds % trial_seconds)) = 0 ] || continue
		# Where the one before does not get there either, it is the line that is broken.
		"$before" "$lib/agent.old.js" check >/dev/null 2>&1 || continue
		[ -e "$lib/trial" ] || return
		fall_back "it did not reach the control plane within $trial_seconds s, and the one before it does"
		kill -KILL "$1"
	done
}

if [ -e "$lib/trial" ]; then
	if [ -e "$lib/trial.begun" ]; then
		fall_back "it ended before it had reached the control plane; the agent's log says why"
	else
		: >"$lib/trial.begun"
		# Not the agent's child, which would have to wait for it.
		(watch $$ &)
	fi
fi
exec "$lib/bun" "$lib/agent.js" run
START
	chmod 755 "$lib/start"
}

# A proxy that this line came through is the agent's too: for the control plane, never for nodes and containers.
write_settings() {
	{
		echo "# Environment of skein-agent, written by the install line."
		for variable in HTTPS_PROXY HTTP_PROXY NO_PROXY https_proxy http_proxy no_proxy; do
			eval "value=\${$variable-}"
			# shellcheck disable=SC2154
			[ -z "$value" ] || echo "$variable='$(printf %s "$value" | tr -d "'")'"
		done
	} >"$settings"
	chmod 600 "$settings"
}

# --- the service

start_service() {
	if [ -d /run/systemd/system ]; then
		write_unit
		systemctl daemon-reload
		systemctl enable skein-agent >/dev/null 2>&1
		systemctl restart skein-agent
	else
		write_initscript
		if has update-rc.d; then
			update-rc.d skein-agent defaults >/dev/null 2>&1 || true
		elif has chkconfig; then
			chkconfig --add skein-agent || true
		else
			say "no systemd, update-rc.d or chkconfig here: have $initscript start run at boot"
		fi
		"$initscript" restart
	fi
}

write_unit() {
	cat >"$unit" <<UNIT
[Unit]
Description=Skein agent
After=network-online.target docker.service
Wants=network-online.target docker.service
StartLimitIntervalSec=0

[Service]
EnvironmentFile=-$settings
ExecStart=$lib/start
# Containers, tables and the mesh go on without the agent, wireguard-go among them.
KillMode=process
# It ends well by itself only when this machine is a node no more.
Restart=on-failure
RestartSec=2
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
UNIT
}

write_initscript() {
	cat >"$initscript" <<INIT
#!/bin/sh
### BEGIN INIT INFO
# Provides:          skein-agent
# Required-Start:    \$network \$local_fs \$remote_fs
# Required-Stop:
# Should-Start:      docker
# Should-Stop:       docker
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Skein agent
# Description:       Runs what a Skein cluster assigns to this machine.
### END INIT INFO
# chkconfig: 2345 99 01

pidfile=$pidfile
logfile=$logfile
lib=$lib
settings=$settings
INIT
	cat >>"$initscript" <<'INIT'

pid() {
	[ -f "$pidfile" ] || return 1
	pid=$(cat "$pidfile")
	# The number may be another program's by now.
	[ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q 'skein-agent'
}

start() {
	rm -f /run/skein-agent/going-down
	if pid; then
		echo "skein-agent runs already"
		return 0
	fi
	setsid "$0" supervise </dev/null >>"$logfile" 2>&1 &
	echo $! >"$pidfile"
}

# Starts the agent again when it breaks, as systemd would; it ends well only when this machine is a node no more.
supervise() {
	set -a
	[ ! -f "$settings" ] || . "$settings"
	set +a
	child=
	trap 'kill -TERM $child 2>/dev/null; wait $child; exit 0' TERM INT
	trap '' HUP
	while :; do
		"$lib/start" &
		child=$!
		wait $child && exit 0
		sleep 2 &
		wait $!
	done
}

stop() {
	pid || return 0
	patience=100
	case ${RUNLEVEL-} in
	0 | 6)
		# The machine goes down: its tasks are moved before.
		mkdir -p /run/skein-agent
		: >/run/skein-agent/going-down
		patience=600
		;;
	esac
	kill -TERM "$pid" 2>/dev/null
	turns=0
	while kill -0 "$pid" 2>/dev/null; do
		turns=$((turns + 1))
		[ "$turns" -ne "$patience" ] || kill -KILL "$pid"
		sleep 0.1
	done
	rm -f "$pidfile"
}

case ${1-} in
start) start ;;
stop) stop ;;
restart | force-reload)
	stop
	start
	;;
status)
	if pid; then echo "skein-agent runs, pid $pid"; else
		echo "skein-agent does not run"
		exit 3
	fi
	;;
supervise) supervise ;;
*)
	echo "usage: $0 start|stop|restart|status" >&2
	exit 2
	;;
esac
INIT
	chmod 755 "$initscript"
}

# --- the end

remove_all() {
	if [ -d /run/systemd/system ] && [ -f "$unit" ]; then
		systemctl disable --now skein-agent >/dev/null 2>&1 || true
	fi
	[ ! -x "$initscript" ] || "$initscript" stop
	if [ -x "$lib/bun" ] && [ -f "$lib/agent.js" ]; then
		say "telling the cluster, and removing containers, networks, rules and interfaces"
		"$lib/bun" "$lib/agent.js" leave || refuse "something of Skein could not be removed (see above)" \
			"mend that, then run this line again: it goes on where it stopped"
	fi
	if [ -f "$initscript" ]; then
		rm -f "$initscript"
		if has update-rc.d; then update-rc.d skein-agent remove >/dev/null 2>&1 || true; fi
	fi
	if [ -f "$unit" ]; then
		rm -f "$unit"
		systemctl daemon-reload 2>/dev/null || true
		# One that was on its way to another program when it was told to end, ended as if it had failed.
		systemctl reset-failed skein-agent 2>/dev/null || true
	fi
	rm -rf "$lib" "$state" "$settings" "$logfile" "$installlog" "$pidfile" /run/skein-agent
	say "Skein is gone from this machine; Docker and the packages stay"
}

main "$@"
