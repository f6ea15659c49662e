import { expect, test } from "bun:test";
import fc from "fast-check";
import type { NodeId, TaskId } from "./id.ts";
import { isActive, type Load, LoadIndex, LoadOverlay, type Loads } from "./load.ts";
import type { Node } from "./node.ts";
import { type Task, unstarted } from "./task.ts";

const nodeOf = (index: number) => ({ id: `n${index}` as NodeId, index }) as Node;
const taskOf = (id: number, node: number, desired: "running" | "shutdown", ended: boolean): Task =>
	({
		id: `t${id}` as TaskId,
		node: node === 0 ? null : `n${node}`,
		desired,
		status: { ...unstarted, state: ended ? "failed" : "running" },
	}) as unknown as Task;

const anyIndex = fc.integer({ min: 1, max: 5 });
const anyOperation = fc.oneof(
	fc.record({ kind: fc.constant("add" as const), index: anyIndex }),
	fc.record({ kind: fc.constant("drop" as const), index: anyIndex }),
	fc.record({
		kind: fc.constant("task" as const),
		id: fc.nat(8),
		node: fc.nat(5),
		desired: fc.constantFrom("running" as const, "shutdown" as const),
		ended: fc.boolean(),
	}),
	fc.record({ kind: fc.constant("forget" as const), id: fc.nat(8) }),
);
type Operation = typeof anyOperation extends fc.Arbitrary<infer Each> ? Each : never;

/** Both sorts of loads are told the same; what was known before the overlay is in its base. */
function play(operations: readonly Operation[], loads: LoadIndex | LoadOverlay, world: World) {
	for (const one of operations) {
		switch (one.kind) {
			case "add":
				if (!world.nodes.has(one.index)) loads.putNode(nodeOf(one.index));
				world.nodes.add(one.index);
				break;
			case "drop":
				if (world.nodes.delete(one.index)) loads.removeNode(`n${one.index}` as NodeId);
				break;
			case "task": {
				const task = taskOf(one.id, one.node, one.desired, one.ended);
				loads.change(world.tasks.get(one.id), task);
				world.tasks.set(one.id, task);
				break;
			}
			case "forget":
				loads.change(world.tasks.get(one.id), undefined);
				world.tasks.delete(one.id);
				break;
		}
	}
}

interface World {
	readonly nodes: Set<number>;
	readonly tasks: Map<number, Task>;
}

function counted({ nodes, tasks }: World): Load[] {
	return [...nodes]
		.map((index) => {
			const there = [...tasks.values()].filter((task) => task.node === `n${index}`);
			return { id: `n${index}` as NodeId, index, active: there.filter(isActive).length };
		})
		.sort((a, b) => a.active - b.active || a.index - b.index);
}

function merged({ sorted, changed }: Loads): Load[] {
	return [...sorted.filter(({ id }) => !changed.has(id)), ...changed.values()]
		.filter((load) => load !== undefined)
		.sort((a, b) => a.active - b.active || a.index - b.index);
}

test("loads are what one would count", () => {
	fc.assert(
		fc.property(fc.array(anyOperation), fc.array(anyOperation), (before, after) => {
			const world = { nodes: new Set<number>(), tasks: new Map<number, Task>() };
			const index = new LoadIndex();
			play(before, index, world);
			expect(index.sorted).toEqual(counted(world));
			const known = structuredClone(index.sorted);
			const overlay = new LoadOverlay(index);
			play(after, overlay, world);
			expect(merged(overlay)).toEqual(counted(world));
			expect(index.sorted).toEqual(known);
		}),
		{ numRuns: 500 },
	);
});
