// What is left of Skein on a machine with systemd.

import type { LabNode } from "../lab/node.ts";

/** Whatever has a name of ours: in the kernel, the engine and systemd, among the programs, on the disk. */
export async function remains(machine: Pick<LabNode, "exec">): Promise<string> {
	const look = [
		"ip -br link | grep -E '^(sk-|sx-|skein)'",
		"nft list ruleset 2>/dev/null | grep -i skein",
		"docker ps -aq --filter label=skein.task 2>/dev/null",
		"docker network ls -q --filter label=skein.network 2>/dev/null",
		"systemctl list-units --all --plain --no-legend 'skein*'",
		"pgrep -a 'wireguard-go|bun'",
		"find / -xdev -iname '*skein*' -not -name skein-install.log",
		"find /run -iname '*skein*'",
	].join("; ");
	return (await machine.exec(["sh", "-c", look])).stdout.trim();
}
