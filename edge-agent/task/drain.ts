// The time between leaving the tables and being told to stop: connections that a task has may end by themselves.
//
// Nobody is led to it any more, so their number only falls; how long that may take is the assignment's to say.

import type { TaskAssignment } from "../../model/assignment.ts";
import type { Exec } from "../host/exec.ts";

export interface DrainWorld {
	/** How many connections somebody has to one of the addresses. */
	connections(addresses: readonly string[]): Promise<number>;
	nowMs(): number;
	sleep(ms: number): Promise<void>;
}

/** How soon to look again. */
export const drainLookMs = 250;

/** Somebody is connected still, and `sinceMs` is not too long ago. */
export async function isDraining(
	world: Pick<DrainWorld, "connections" | "nowMs">,
	{ attachments, drainMs = 0 }: Pick<TaskAssignment, "attachments" | "drainMs">,
	sinceMs: number,
): Promise<boolean> {
	if (attachments.length === 0 || world.nowMs() - sinceMs >= drainMs) return false;
	return (await world.connections(attachments.map(({ address }) => address))) > 0;
}

/**
 * As the kernel tracks them, on the node where the task is: each has the task's address as the source of its answers,
 * whether its client is here or came by another node. Where the kernel cannot be asked, there is nobody to wait for.
 */
export function connectionsBy(exec: Exec): DrainWorld["connections"] {
	return async (addresses) => {
		const lists = await Promise.all(
			addresses.map((address) =>
				exec("conntrack", ["-L", "-p", "tcp", "--reply-src", address]).catch(() => ""),
			),
		);
		return lists.reduce((sum, text) => sum + countOpen(text), 0);
	};
}

/** Those that may still carry an answer: not the ones that are over and only remembered. */
export function countOpen(text: string): number {
	const open = /^tcp\s+6 \d+ (SYN_SENT|SYN_RECV|ESTABLISHED|FIN_WAIT|CLOSE_WAIT) /;
	return text.split("\n").filter((line) => open.test(line) && !line.includes("[UNREPLIED]")).length;
}
