// The planner: tasks placed a second, and what one failing task costs in a small and in a large cluster.

import { facts, task } from "../control-plane/manager/scheduler/schedule.test-data.ts";
import { schedule } from "../control-plane/manager/scheduler/schedule.ts";
import { medianUs, type Row } from "./row.ts";

export const name = "planner";

export async function run(): Promise<Row[]> {
	return [await placing(100), await placing(5000)];
}

async function placing(nodes: number): Promise<Row> {
	const waiting = Array.from({ length: 10_000 }, (_, at) => task(`${at % 20}`, `t${at}`));
	const all = facts({
		nodes: Array.from({ length: nodes }, (_, at) => ({ index: at + 1 })),
		services: Array.from({ length: 20 }, (_, at) => ({ name: `${at}` })),
		tasks: waiting,
	});
	const us = await medianUs(5, () => schedule(all, waiting));
	return { what: `scheduler alone, ${nodes} nodes`, value: 1e10 / us, unit: "tasks/s" };
}
