// The machine is being shut down or rebooted in good order: its tasks are moved first, as if it were drained.
//
// A restart of the agent alone is none of that, and moves nothing. What cannot be told (a control plane that is away,
// no other machine to move to) holds the machine up for no time, or a bounded one.

import { existsSync } from "node:fs";
import type { Assignment } from "../model/assignment.ts";
import type { Exec } from "./host/exec.ts";

/** Left by our init script where the runlevel says so. */
const markPath = "/run/skein-agent/going-down";

/** Within what systemd (90 s) and our init script give us. */
const patienceMs = 40_000;
const lookMs = 200;

export async function isGoingDown(exec: Exec): Promise<boolean> {
	if (existsSync(markPath)) return true;
	if (!existsSync("/run/systemd/system")) return false;
	// Its exit code says the same as its word, and is not 0.
	const said = await exec("sh", ["-c", "systemctl is-system-running || true"]).catch(() => "");
	return said.trim() === "stopping";
}

/** Resolves once nothing is assigned to this node any more, or when it has taken too long. */
export async function emptied(
	assignment: () => Assignment | undefined,
	sleep: (ms: number) => Promise<void>,
): Promise<void> {
	for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += lookMs) {
		const held = assignment();
		if (!held || held.tasks.length === 0 || held.peers.every(({ down }) => down)) return;
		await sleep(lookMs);
	}
}
