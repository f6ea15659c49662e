// A machine on which everything works, as far as the control plane hears of it: what it is, and what becomes of the
// tasks that it is given. What images and arguments have in their names decides.

import type { TaskId } from "../model/id.ts";
import type { NodeDescription } from "../model/node.ts";
import type { TaskTemplate } from "../model/service.ts";
import type { TaskStatus } from "../model/task.ts";
import { isBefore, isTerminal } from "../model/taskstate.ts";

export function machine(hostname: string, index: number): NodeDescription {
	return {
		hostname,
		os: "linux",
		architecture: "x86_64",
		kernel: "6.1.0",
		engineVersion: "28.5.1",
		engineLabels: {},
		plugins: [{ type: "Volume", name: "local" }],
		agentVersion: "0.1.0",
		nanoCpus: 2_000_000_000,
		memoryBytes: 4 * 1024 ** 3,
		publicKey: `${"A".repeat(42)}${index % 10}=`,
		wireguardPort: 51820,
		wireguard: "kernel",
		addresses: [`192.168.77.${index}`],
		routes: ["192.168.77.0/24"],
		problems: [],
	};
}

export interface Wanted {
	readonly id: TaskId;
	readonly desired: "ready" | "running" | "shutdown";
	readonly template: Pick<TaskTemplate, "container">;
}

/** What the task is next, one state further; undefined when nothing happens to it by itself. */
export function nextStatus(
	{ id, desired, template }: Wanted,
	status: TaskStatus,
	observed: number,
): TaskStatus | undefined {
	const { image, args } = template.container;
	const say = (state: TaskStatus["state"], message: string, error = ""): TaskStatus => ({
		...status,
		state,
		message,
		error,
		sinceMs: Date.now(),
		observed,
		health: "none",
		containerId: isBefore(state, "starting") ? "" : containerIdOf(id),
		pid: state === "running" ? 4000 + (observed % 1000) : 0,
		exitCode: exitCodes[state] ?? null,
		...(state === "failed" && {
			evidence: { oomKilled: false, health: "", lines: ["starting", "boom"] },
		}),
	});
	if (isTerminal(status.state) || isBefore(status.state, "assigned")) return undefined;
	if (desired === "shutdown") return say("shutdown", "shutdown");
	if (image.includes("no-such-image")) {
		return say("rejected", "preparing", `No such image: ${image}`);
	}
	if (isBefore(status.state, "ready")) return say("ready", "prepared");
	if (desired === "running" && isBefore(status.state, "running")) return say("running", "started");
	if (status.state !== "running") return undefined;
	if (args.includes("exit 0")) return say("complete", "finished");
	return args.includes("exit 7") ? say("failed", "started", "task: non-zero exit (7)") : undefined;
}

const exitCodes: Partial<Record<TaskStatus["state"], number>> = { complete: 0, failed: 7 };

const containerIdOf = (id: TaskId) => id.padEnd(64, "0").replaceAll(/[g-z]/g, "e");
