import { expect, test } from "bun:test";
import type { Cluster } from "../../../model/cluster.ts";
import type { NetworkId, NodeId, ServiceId, TaskId } from "../../../model/id.ts";
import { gatewayHolder } from "../../../model/network.ts";
import type { Node } from "../../../model/node.ts";
import { Facts } from "../../../model/snapshot.ts";
import { type Task, type TaskStatus, unstarted } from "../../../model/task.ts";
import { backsOff } from "./state.ts";
import { toEngine } from "./task.ts";

const network = "net" as NetworkId;

/** Two nodes on one network, one of which has not applied the newest tables. */
function facts(): Facts {
	const facts = new Facts({} as Cluster);
	for (const [id, appliedRevision] of [
		["h1", 9],
		["h2", 4],
	] as const) {
		facts.setNode({
			id: id as NodeId,
			spec: { name: "" },
			description: { hostname: id },
			status: { state: "ready" },
			appliedRevision,
		} as unknown as Node);
		const holder = gatewayHolder(id as NodeId);
		facts.setLease({ network, address: id, prefix: 32, holder, releasedMs: 0 });
	}
	return facts;
}

const task = (status: Partial<TaskStatus>, more: Partial<Task> = {}): Task => ({
	id: "task" as TaskId,
	service: "service" as ServiceId,
	slot: 1,
	node: "h1" as NodeId,
	templateVersion: 1,
	generation: 1,
	desired: "running",
	attachments: [{ network, address: "10.0.1.5" }],
	serving: false,
	tablesRevision: 7,
	released: false,
	createdMs: 1_000,
	startAfterMs: 0,
	status: { ...unstarted, sinceMs: 1_000, message: "started", ...status },
	...more,
});

const lag = "started, waiting for h2 to know its address";

test.each<[string, Task, number, [string, string, string | undefined]]>([
	["a process is no answer", task({ state: "running" }), 2_000, ["starting", lag, undefined]],
	["nor is it after a while", task({ state: "running" }), 9_000, ["starting", lag, lag]],
	[
		"once it serves",
		task({ state: "running" }, { serving: true }),
		9_000,
		["running", "started", undefined],
	],
	[
		"a health check may take its time",
		task({ state: "running", health: "starting" }),
		99_000,
		["starting", "started, waiting for its health check", undefined],
	],
	[
		"one that is to stop is not starting",
		task({ state: "running" }, { desired: "shutdown" }),
		9_000,
		["running", "started", undefined],
	],
	[
		"failures speak for themselves",
		task({ state: "failed", error: "task: non-zero exit (1)" }),
		9_000,
		["failed", "started", "task: non-zero exit (1)"],
	],
	[
		"alone on its networks",
		task({ state: "running" }, { attachments: [] }),
		2_000,
		["starting", "started, about to serve", undefined],
	],
])("%s", (_name, shown, nowMs, [state, message, error]) => {
	const { Status: status } = toEngine(shown, facts(), nowMs) as {
		Status: { State: string; Message: string; Err?: string };
	};
	expect([status.State, status.Message, status.Err]).toEqual([state, message, error]);
});

test("a task that is put off for longer than asked says so where service ps looks", () => {
	const held = task({}, { desired: "ready", startAfterMs: 9_000 });
	expect(backsOff(held, 5_000, 2_000)).toBe(
		"its last tasks ended soon after their start: the next starts in 8 s",
	);
	expect(backsOff(held, 8_000, 2_000)).toBe("");
	expect(backsOff(held, 5_000, 9_000)).toBe("");
	expect(backsOff({ ...held, desired: "running" }, 5_000, 2_000)).toBe("");
});
