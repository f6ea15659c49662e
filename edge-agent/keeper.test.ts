import { expect, test } from "bun:test";
import { tmpdir } from "node:os";
import type { Assignment } from "../model/assignment.ts";
import type { Docker } from "./host/docker.ts";
import { keeperOf } from "./keeper.ts";
import type { Tasks } from "./task/tasks.ts";

test("the disk is tended with each look at the tasks, and only while the engine answers", async () => {
	const done: string[] = [];
	const assignment = {
		cluster: "c1",
		self: { node: "n1", hostname: "h1", index: 1, meshAddress: "10.200.0.1" },
		peers: [],
		networks: [],
		tasks: [{ template: { container: { image: "r/a:1" } } }],
	} as unknown as Assignment;
	let docker: Docker | undefined;
	const keeper = keeperOf(
		{ assign: async () => void done.push("tasks") } as unknown as Tasks,
		{
			want: (images) => done.push(`want ${[...images]}`),
			tend: async () => void done.push("tend"),
		},
		{ current: () => docker },
		tmpdir(),
	);
	await keeper.assign(assignment, new Map());
	docker = { apiVersion: "1.51" } as unknown as Docker;
	await keeper.assign(assignment, new Map());
	expect(done).toEqual(["want r/a:1", "want r/a:1", "tend", "tasks"]);
});
