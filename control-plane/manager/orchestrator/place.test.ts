import { expect, test } from "bun:test";
import { Little, nodeId } from "../../../test/build.ts";

function goesDown(little: Little, index: number, goingDown: boolean): void {
	const node = little.node(index);
	little.facts.setNode({ ...node, description: { ...node.description, goingDown } });
}

test.each(["replicated", "global"] as const)(
	"a machine that goes down in good order is emptied like a drained one, and takes tasks when it is back: %s",
	(mode) => {
		const little = new Little(3);
		little.network("net");
		little.settle();
		little.create("web", { mode, replicas: 3, networks: ["net"] });
		little.settle(60_000);
		expect(little.running("web").map(({ node }) => node)).toContain(nodeId(2));
		goesDown(little, 2, true);
		little.turn();
		const leaving = little.tasks("web").find(({ node }) => node === nodeId(2));
		// Told to stop once all others have tables without it, not before.
		expect(leaving).toMatchObject({ desired: "shutdown", serving: false });
		expect(leaving?.status.state).toBe("running");
		little.settle(60_000);
		expect(little.node(2).status.state).toBe("ready");
		const count = mode === "global" ? 2 : 3;
		const moved = little.running("web").filter(({ serving }) => serving);
		expect(moved).toHaveLength(count);
		expect(moved.map(({ node }) => node)).not.toContain(nodeId(2));
		goesDown(little, 2, false);
		little.settle(1_000);
		little.image("web", "new");
		little.settle(120_000);
		expect(little.running("web")).toHaveLength(3);
		expect(little.running("web").map(({ node }) => node)).toContain(nodeId(2));
	},
);
