#!/bin/sh
# Puts `docker skein` into this user's docker CLI, or, with --uninstall, takes it out again. Needs no root.
#
#   curl -fsSL URL/cli.sh | sh
#
# Safe to run twice: the program becomes the newest, and you stay signed in.
#
# The control plane fills in its own address, and what it serves: a line "name sha256 url" for each file.
set -eu

url='@URL@'
files='@FILES@'

docker=${DOCKER_CONFIG:-${HOME:?}/.docker}
lib=$docker/skein
plugin=$docker/cli-plugins/docker-skein

usage() {
	cat <<USAGE
usage: sh cli.sh [--uninstall]
  --uninstall   sign out, and remove everything that Skein put into $docker
USAGE
}

main() {
	uninstall=''
	while [ $# -gt 0 ]; do
		case $1 in
		--uninstall) uninstall=yes ;;
		-h | --help)
			usage
			exit 0
			;;
		*) refuse "no such option: $1" "$(usage)" ;;
		esac
		shift
	done
	if [ -n "$uninstall" ]; then
		remove_all
		return
	fi
	has docker || refuse "there is no docker command on this machine" \
		"install Docker's CLI (docker-cli, docker.io or docker-ce-cli), then run this line again"
	has sha256sum || has shasum || refuse "sha256sum is missing" "install the coreutils package"
	mkdir -p "$lib" "$docker/cli-plugins" 2>/dev/null || refuse "$docker cannot be written" \
		"make it yours, or set DOCKER_CONFIG to a folder that is"
	chmod 700 "$lib"
	before=$(sum_of "$lib/cli.js")
	load_runtime
	load cli.js cli.js 644
	write_launcher
	"$plugin" docker-cli-plugin-metadata >/dev/null || refuse "the program does not run on this machine" \
		"on Linux it needs glibc 2.27 or later, and on x86_64 a processor with AVX2"
	# One of the version before would go on.
	[ -z "$before" ] || [ "$before" = "$(sum_of "$lib/cli.js")" ] || "$plugin" skein stop
	say "docker skein is there. Next: docker skein login $url"
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

# --- the program

# The endpoint's own, and where it has none for this machine, the one that is here already.
load_runtime() {
	case $(uname -s) in
	Linux) system=linux ;;
	Darwin) system=darwin ;;
	*) system=$(uname -s) ;;
	esac
	case $(uname -m) in
	x86_64 | amd64) runtime=bun-$system-x64 ;;
	aarch64 | arm64) runtime=bun-$system-arm64 ;;
	*) runtime=bun-$system-$(uname -m) ;;
	esac
	if [ -n "$(line_of "$runtime")" ]; then
		load "$runtime" bun 755
	elif has bun; then
		say "$url serves no $runtime: using $(command -v bun)"
		ln -sf "$(command -v bun)" "$lib/bun"
	else
		refuse "$url serves no $runtime, which the program needs" \
			"install it as https://bun.sh says, then run this line again"
	fi
}

line_of() { printf '%s\n' "$files" | while read -r file rest; do [ "$file" != "$1" ] || echo "$file $rest"; done; }

# load NAME AS MODE: what is here already is not loaded again, what has another sum is not used.
load() {
	# shellcheck disable=SC2046
	set -- "$1" "$2" "$3" $(line_of "$1")
	sum=${5-} from=${6-}
	[ -n "$from" ] || refuse "$url serves no $1" "it is of another version than this script: load the script anew"
	[ "$(sum_of "$lib/$2")" != "$sum" ] || return 0
	say "loading $1"
	rm -f "$lib/$2.new"
	fetch "$from" "$lib/$2.new" || refuse "$from cannot be loaded" "check that this machine reaches $url"
	if [ "$(sum_of "$lib/$2.new")" != "$sum" ]; then
		rm -f "$lib/$2.new"
		refuse "$1 from $from is not what $url promised: its checksum differs" \
			"something between here and there changes it; try again, or ask who runs it"
	fi
	chmod "$3" "$lib/$2.new"
	mv -f "$lib/$2.new" "$lib/$2"
}

sum_of() {
	[ -f "$1" ] || return 0
	if has sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

fetch() {
	if has curl; then
		curl -fsSL --retry 3 -o "$2" "$1"
	else
		wget -q -O "$2" "$1"
	fi
}

# Finds the program from where it lies itself, so that the folder may be moved.
write_launcher() {
	cat >"$plugin.new" <<'LAUNCHER'
#!/bin/sh
lib=${0%/*}/../skein
exec "$lib/bun" "$lib/cli.js" "$@"
LAUNCHER
	chmod 755 "$plugin.new"
	mv -f "$plugin.new" "$plugin"
}

# --- the end

remove_all() {
	if [ -x "$plugin" ]; then
		"$plugin" skein logout --all || refuse "you could not be signed out (see above)" \
			"mend that, then run this line again; or remove $docker/skein.json by hand first"
	fi
	rm -rf "$lib" "$plugin" "$docker/skein.json"
	say "docker skein is gone from $docker; Docker and its own settings stay"
}

main "$@"
