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
pidfile=/run/skein-agent.pid
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

usage() {
	cat <<USAGE
usage: sh install.sh --token TOKEN [options]
  --token TOKEN           what \`docker swarm join-token worker\` prints
  --name NAME             the node's name; the machine's own unless told
  --advertise-addr ADDR   where the other nodes reach this one; the default route's address unless told
  --no-install            refuse instead of installing missing packages
  --no-docker-install     refuse if there is no Docker, but install other missing packages
  --uninstall             tell the cluster, and remove everything that Skein put on this machine
USAGE
}

main() {
	token='' name='' advertise='' install=yes docker_install=yes uninstall=''
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

	check_machine
	install_tools
	start_engine
	load_program
	"$lib/bun" "$lib/agent.js" preflight --url "$url" || exit 1
	set -- --url "$url" --token "$token"
	[ -z "$name" ] || set -- "$@" --name "$name"
	[ -z "$advertise" ] || set -- "$@" --advertise-addr "$advertise"
	"$lib/bun" "$lib/agent.js" join "$@" || exit 1
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
	if has ip && ! kernel_has_wireguard && ! has wireguard-go; then echo wireguard-go; fi
	engine_is_here || echo docker
}

package_manager() {
	for each in apt-get dnf zypper pacman apk; do
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
	iptables:dnf | iptables:pacman) echo iptables-nft ;;
	iptables:*) echo iptables ;;
	wg:*) echo wireguard-tools ;;
	conntrack:apt-get) echo conntrack ;;
	conntrack:*) echo conntrack-tools ;;
	modprobe:*) echo kmod ;;
	curl:*) echo curl ;;
	wireguard-go:*) echo wireguard-go ;;
	docker:apt-get)
		echo docker.io
		# Since 26, Debian has the engine's command line in a package of its own.
		if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; fi
		;;
	docker:dnf) echo moby-engine ;;
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
	apk) echo "apk add $*" ;;
	esac
}

install_tools() {
	missing=$(missing_tools | sort -u | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	manager=$(package_manager)
	[ -n "$manager" ] || refuse "missing: $missing" "install them by the means of this distribution, then run this line again"
	case $missing in *docker*)
		[ -n "$docker_install" ] || refuse "Docker is missing" \
			"$(install_line "$manager" $(package_of "$manager" docker)), or see https://docs.docker.com/engine/install"
		;;
	esac
	packages=$(for tool in $missing; do package_of "$manager" "$tool"; done | sort -u | tr '\n' ' ')
	# The words are package names of ours: they are meant to be split.
	# shellcheck disable=SC2086
	line=$(install_line "$manager" $packages)
	[ -n "$install" ] || refuse "missing: $missing" "$line"
	[ "$manager" != apt-get ] || apt_update
	say "installing what is missing: $packages"
	# Packages of services want to know how to behave without an init.
	DEBIAN_FRONTEND=noninteractive sh -c "$line" </dev/null >"$state/install.log" 2>&1 || {
		tail -n 5 "$state/install.log" >&2
		refuse "$line: failed" "mend that (the whole story is in $state/install.log), then run this line again"
	}
	missing=$(missing_tools | sort -u | tr '\n' ' ')
	[ -z "$missing" ] || refuse "still missing: $missing" "install it by hand, then run this line again"
}

apt_update() {
	say "reading the lists of packages"
	apt-get update </dev/null >"$state/install.log" 2>&1 || say "apt-get update failed; going on with the lists that are here"
}

start_engine() {
	! engine_answers || return 0
	say "starting Docker"
	if [ -d /run/systemd/system ]; then
		systemctl enable --now docker >>"$state/install.log" 2>&1 || true
	elif ! [ -x /etc/init.d/docker ] || ! /etc/init.d/docker start >>"$state/install.log" 2>&1; then
		# In a container the script that came with it may not raise the limits it wants to. Docker itself needs none.
		setsid dockerd </dev/null >>/var/log/docker.log 2>&1 &
	fi
	turns=0
	until engine_answers; do
		turns=$((turns + 1))
		if [ "$turns" -gt 60 ]; then
			tail -n 5 "$state/install.log" /var/log/docker.log >&2 2>/dev/null || true
			refuse "Docker is installed but does not run" \
				"start it (systemctl start docker, or service docker start) and look into its log, then run this line again"
		fi
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
	"$lib/bun" --version >/dev/null 2>&1 || refuse "the runtime does not run on this machine" \
		"it needs glibc 2.27 or later, which Alpine and very old distributions have not"
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
ExecStart=$lib/bun $lib/agent.js run
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
# Default-Start:     2 3 4 5
# Default-Stop:
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
		"$lib/bun" "$lib/agent.js" run &
		child=$!
		wait $child && exit 0
		sleep 2 &
		wait $!
	done
}

stop() {
	pid || return 0
	kill -TERM "$pid" 2>/dev/null
	turns=0
	while kill -0 "$pid" 2>/dev/null; do
		turns=$((turns + 1))
		[ "$turns" -ne 100 ] || kill -KILL "$pid"
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
	fi
	rm -rf "$lib" "$state" "$settings" "$logfile" "$pidfile" /run/skein-agent
	say "Skein is gone from this machine; Docker and the packages stay"
}

main "$@"
