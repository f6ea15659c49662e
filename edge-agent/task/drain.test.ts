import { expect, test } from "bun:test";
import { countOpen } from "./drain.ts";

test.each([
	[
		"one that is used",
		"tcp      6 431999 ESTABLISHED src=10.0.1.9 dst=10.0.1.2 sport=1 dport=80 src=10.0.1.4 dst=10.0.1.9 sport=80 dport=1 [ASSURED] mark=0 use=1",
		1,
	],
	[
		"one that came by another node",
		"tcp      6 300 ESTABLISHED src=192.168.77.254 dst=10.255.0.4 sport=1 dport=80 src=10.255.0.4 dst=192.168.77.254 sport=80 dport=1 [ASSURED] mark=33554434 zone-orig=2 use=1",
		1,
	],
	[
		"one whose client is done and waits for the answer",
		"tcp      6 60 FIN_WAIT src=10.0.1.9 dst=10.0.1.2 sport=1 dport=80 src=10.0.1.4 dst=10.0.1.9 sport=80 dport=1 [ASSURED] mark=0 use=1",
		1,
	],
	[
		"one that is over",
		"tcp      6 119 TIME_WAIT src=10.0.1.9 dst=10.0.1.2 sport=1 dport=80 src=10.0.1.4 dst=10.0.1.9 sport=80 dport=1 [ASSURED] mark=0 use=1",
		0,
	],
	[
		"one that was reset",
		"tcp      6 9 CLOSE src=10.0.1.9 dst=10.0.1.2 sport=1 dport=80 src=10.0.1.4 dst=10.0.1.9 sport=80 dport=1 mark=0 use=1",
		0,
	],
	[
		"one that nobody answered",
		"tcp      6 119 SYN_SENT src=10.0.1.9 dst=10.0.1.4 sport=1 dport=80 [UNREPLIED] src=10.0.1.4 dst=10.0.1.9 sport=80 dport=1 mark=0 use=1",
		0,
	],
	["nothing", "", 0],
] as const)("of the connections that the kernel tracks, %s", (_what, line, count) => {
	expect(countOpen(`${line}\n`)).toBe(count);
});
