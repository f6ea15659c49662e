#!/bin/sh
# The node's engine: lab-engine start|stop|kill
#
# containerd is a daemon of its own, as on a machine with systemd, and stays when
# the engine is stopped or killed. Settings are in /etc/docker/daemon.json.
start() {
	if [ ! -S /run/containerd/containerd.sock ]; then
		setsid containerd </dev/null >>/var/log/containerd.log 2>&1 &
		until [ -S /run/containerd/containerd.sock ]; do sleep 0.02; done
	fi
	rm -f /run/docker.pid
	setsid dockerd --containerd=/run/containerd/containerd.sock </dev/null >>/var/log/docker.log 2>&1 &
	until curl --silent --fail --output /dev/null --unix-socket /run/docker.sock http://docker/_ping; do
		kill -0 $! || { tail -n 5 /var/log/docker.log >&2; exit 1; }
		sleep 0.05
	done
}

end() {
	pid=$(cat /run/docker.pid) || return 0
	kill "-$1" "$pid"
	while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}

case ${1-} in
start) start ;;
stop) end TERM ;;
kill) end KILL ;;
*) echo "usage: lab-engine start|stop|kill" >&2; exit 2 ;;
esac
