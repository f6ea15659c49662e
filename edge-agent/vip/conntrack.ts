// Ends flows that the tables would no longer begin.
//
// The kernel remembers where it led a flow and asks the tables only for new ones. A UDP sender would so keep sending
// to a task that left, for as long as it sends; a TCP client of a dead task would hang instead of being refused.

import type { NetworkAssignment } from "../../model/assignment.ts";
import { type Exec, ExecError } from "../host/exec.ts";

type Networks = readonly NetworkAssignment[];

export interface Departed {
	/** No backends any more, though perhaps still draining: their UDP flows go elsewhere now. */
	readonly udp: readonly string[];
	/** Not there any more: their TCP clients hear of it with the next packet, by a reset. */
	readonly tcp: readonly string[];
}

/** Who led flows in the first and leads none in the second. */
export function departed(before: Networks, after: Networks): Departed {
	const serving = new Set(backends(after));
	const here = new Set(after.flatMap(({ members }) => members.map(({ address }) => address)));
	const left = [...new Set(backends(before))].filter((address) => !serving.has(address));
	return { udp: left, tcp: left.filter((address) => !here.has(address)) };
}

/**
 * Among the flows that the kernel knows, the ones through a VIP or a published port to somebody who is not behind it:
 * for the first look after a start, when nobody knows what the last agent had loaded.
 */
export async function strays(exec: Exec, networks: Networks): Promise<Departed> {
	const serving = new Set(backends(networks));
	const here = new Set(networks.flatMap(({ members }) => members.map(({ address }) => address)));
	const vips = new Set(networks.flatMap(({ endpoints }) => endpoints.map(({ vip }) => vip)));
	const published = new Set(
		networks.flatMap(({ endpoints }) =>
			endpoints.flatMap(({ ports }) =>
				ports.map(({ protocol, published }) => `${protocol} ${published}`),
			),
		),
	);
	const flows = parseFlows(await exec("conntrack", ["-L", "--dst-nat"]));
	const leads = flows.filter(
		({ protocol, asked, port }) => vips.has(asked) || published.has(`${protocol} ${port}`),
	);
	const stray = (protocol: string, known: ReadonlySet<string>) => [
		...new Set(
			leads
				.filter((flow) => flow.protocol === protocol && !known.has(flow.backend))
				.map(({ backend }) => backend),
		),
	];
	return { udp: stray("udp", serving), tcp: stray("tcp", new Set([...here, ...serving])) };
}

/**
 * Only flows whose destination was changed are ended: who called a task by its own address did not ask us. Each removal
 * goes through the kernel's whole table, so where many left, one look tells which of them have flows at all.
 */
export async function endFlows(exec: Exec, { udp, tcp }: Departed): Promise<void> {
	const has = udp.length + tcp.length > 2 ? await flowsOf(exec) : () => true;
	for (const address of udp) if (has("udp", address)) await end(exec, "udp", address);
	for (const address of tcp) if (has("tcp", address)) await end(exec, "tcp", address);
}

async function flowsOf(exec: Exec): Promise<(protocol: string, address: string) => boolean> {
	const flows = parseFlows(await exec("conntrack", ["-L", "--dst-nat"]));
	const seen = new Set(flows.map(({ protocol, backend }) => `${protocol} ${backend}`));
	return (protocol, address) => seen.has(`${protocol} ${address}`);
}

interface Flow {
	readonly protocol: string;
	/** The address and port that the client asked for. */
	readonly asked: string;
	readonly port: string;
	readonly backend: string;
}

/** `udp 17 29 src=… dst=VIP sport=… dport=… src=BACKEND dst=… …`: the question first, then the expected answer. */
export function parseFlows(text: string): Flow[] {
	return text.split("\n").flatMap((line) => {
		const protocol = /^(\S+)/.exec(line)?.[1];
		const [, backend] = [...line.matchAll(/\bsrc=(\S+)/g)].map((match) => match[1]);
		const asked = /\bdst=(\S+)/.exec(line)?.[1];
		const port = /\bdport=(\S+)/.exec(line)?.[1];
		return protocol && backend && asked && port ? [{ protocol, asked, port, backend }] : [];
	});
}

function backends(networks: Networks): string[] {
	return networks.flatMap(({ endpoints }) => endpoints.flatMap((endpoint) => endpoint.backends));
}

async function end(exec: Exec, protocol: "udp" | "tcp", address: string): Promise<void> {
	try {
		await exec("conntrack", ["-D", "-p", protocol, "--dst-nat", address]);
	} catch (error) {
		// 1 is also its way to say that there was no such flow.
		if (!(error instanceof ExecError) || error.exitCode !== 1) throw error;
		if (!error.stderr.includes("0 flow entries")) throw error;
	}
}
