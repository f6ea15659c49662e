import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Snapshot } from "../../model/snapshot.ts";
import { befall, begin, history } from "./arbitrary.test-data.ts";
import { Draft } from "./draft.ts";

/** All that can be read of a snapshot, in an order that does not depend on how it came to be. */
function contents(snapshot: Snapshot) {
	const sorted = (values: Iterable<unknown>) =>
		[...values].map((value) => JSON.stringify(value)).sort();
	const networks = [...snapshot.networks.keys()].sort();
	return {
		sizes: [snapshot.nodes.size, snapshot.services.size, snapshot.tasks.size],
		cluster: snapshot.cluster,
		nodes: sorted(snapshot.nodes.values()),
		networks: sorted(snapshot.networks.values()),
		services: sorted(snapshot.services.values()),
		tasks: sorted(snapshot.tasks.values()),
		ofServices: [...snapshot.services.keys()].sort().map((id) => [
			sorted(snapshot.tasksOfService(id).keys()),
			sorted(snapshot.templatesOfService(id)),
			snapshot
				.templatesOfService(id)
				.map(({ version }) => snapshot.template(id, version)?.version)
				.sort(),
		]),
		ofNodes: [...snapshot.nodes.keys()].sort().map((id) => sorted(snapshot.tasksOfNode(id))),
		leases: networks.map((id) => sorted(snapshot.leasesOfNetwork(id))),
		held: networks.map((id) =>
			sorted(
				[...snapshot.leasesOfNetwork(id).values()].map(
					({ holder }) => snapshot.leaseOf(id, holder) ?? null,
				),
			),
		),
		lowest: networks.map((id) => snapshot.lowestUnleased(id, 0x0a_00_00_02)),
		unsettled: [
			sorted(snapshot.unsettled.tasks.keys()),
			sorted(snapshot.unsettled.services.keys()),
			sorted(snapshot.unsettled.leases),
		],
	};
}

test("a draft reads as the facts do, once the same changes are made", () => {
	fc.assert(
		fc.property(history, fc.nat(30), (past, at) => {
			const drafted = begin();
			const applied = begin();
			for (const event of past.slice(0, at)) {
				befall(drafted, event);
				befall(applied, event);
			}
			const draft = new Draft(drafted.facts);
			for (const change of applied.plan().changes) draft.put(change);
			expect(contents(draft)).toEqual(contents(applied.facts));
			// What it says it changed, made on the facts, comes to the same.
			for (const change of draft.changes()) drafted.facts.apply(change);
			expect(contents(drafted.facts)).toEqual(contents(applied.facts));
		}),
		{ numRuns: 200 },
	);
});

test("what is put and put back is no change", () => {
	const little = begin();
	little.create("web", { replicas: 1, networks: ["one"] });
	little.settle();
	const [task] = little.tasks("web");
	const [lease] = little.facts.leasesOfNetwork("net-one" as never).values();
	if (!task || !lease) throw new Error("there is a task, and it has an address");
	const draft = new Draft(little.facts);
	draft.put({ kind: "put-task", task: { ...task, serving: !task.serving } });
	expect(draft.changes()).toHaveLength(1);
	draft.put({ kind: "put-task", task });
	draft.put({ kind: "remove-lease", network: lease.network, address: lease.address });
	draft.put({ kind: "put-lease", lease });
	draft.put({ kind: "remove-task", id: task.id });
	draft.put({ kind: "put-task", task });
	expect(draft.changes()).toEqual([]);
});

test("a plan's word on a task leaves what its node reported", () => {
	const little = begin();
	little.create("web", {});
	little.settle();
	const [task] = little.tasks("web");
	if (!task) throw new Error("there is a task");
	const draft = new Draft(little.facts);
	draft.put({
		kind: "put-task",
		task: { ...task, desired: "shutdown", status: { ...task.status, state: "new" } },
	});
	expect(draft.tasks.get(task.id)).toMatchObject({
		desired: "shutdown",
		status: { state: "running" },
	});
	draft.put({ kind: "task-status", id: task.id, status: { ...task.status, state: "preparing" } });
	expect(draft.changes().map(({ kind }) => kind)).toEqual(["put-task"]);
});
