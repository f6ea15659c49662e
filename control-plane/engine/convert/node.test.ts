import { expect, test } from "bun:test";
import { newNode } from "../../../test/build.ts";
import { toEngine } from "./node.ts";

test.each([
	["nothing to say", "", [], [], undefined],
	["a problem", "", ["no VXLAN"], [], "no VXLAN"],
	[
		"a warning of a node in service",
		"",
		[],
		["nginx listens on it too"],
		"nginx listens on it too",
	],
	["all of it, each once", "no VXLAN", ["no VXLAN"], ["slow"], "no VXLAN; slow"],
])("Status.Message: %s", (_, message, problems, warnings, want) => {
	const node = newNode(1, 0, { problems, warnings });
	const shown = toEngine({ ...node, status: { state: "ready", message, sinceMs: 0 } });
	expect(shown["Status"]).toEqual({
		State: "ready",
		...(want !== undefined && { Message: want }),
		Addr: "192.168.77.1",
	});
});
