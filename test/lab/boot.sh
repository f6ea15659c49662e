#!/bin/sh
# Boots a node: the engine, then whatever has been enabled in /etc/rc3.d, as
# `update-rc.d NAME defaults` does, then /etc/rc.local.
lab-engine start || exit 1
for script in /etc/rc3.d/S*; do
	[ ! -x "$script" ] || "$script" start
done
[ ! -x /etc/rc.local ] || /etc/rc.local
echo running >/run/lab-booted
exec sleep infinity
