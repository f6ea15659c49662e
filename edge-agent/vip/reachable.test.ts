import { expect, test } from "bun:test";
import type { NodeId } from "../../model/id.ts";
import { reachable } from "./reachable.ts";
import { assignmentOf, nodeId } from "./scene.test-data.ts";

const assignment = assignmentOf(
	{
		nodes: 3,
		networks: [
			{
				name: "blue",
				vni: 5,
				at: { "10.0.5.11": 1, "10.0.5.12": 2, "10.0.5.13": 3 },
				services: [
					{ name: "web", vip: "10.0.5.2", backends: ["10.0.5.11", "10.0.5.12", "10.0.5.13"] },
					{ name: "solo", vip: "10.0.5.3", backends: ["10.0.5.12"] },
				],
			},
		],
	},
	1,
);
const silent = (...numbers: number[]) => new Set<NodeId>(numbers.map(nodeId));
const seen = (...numbers: number[]) => {
	const [blue] = reachable(assignment, silent(...numbers)).networks;
	return {
		members: blue?.members.map(({ address }) => address),
		backends: blue?.endpoints.map(({ backends }) => backends),
	};
};

test("a silent node's tasks are in no table", () => {
	expect(seen(3)).toEqual({
		members: ["10.0.5.11", "10.0.5.12"],
		backends: [["10.0.5.11", "10.0.5.12"], ["10.0.5.12"]],
	});
});

test("save where a service would have none left", () => {
	expect(seen(2, 3).backends).toEqual([["10.0.5.11"], ["10.0.5.12"]]);
});

test("nothing changes while all answer", () => {
	expect(reachable(assignment, silent())).toBe(assignment);
	expect(seen()).toEqual(seen(9));
});
