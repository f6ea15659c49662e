import { expect, test } from "bun:test";
import { Little, nodeId } from "../../test/build.ts";
import { unheardAcknowledgements } from "./acknowledge.ts";

/** A node that acknowledged revision 5; a task waits for that of `awaited`, and now it is revision 9. */
function acknowledged(
	awaited: number,
	told: { readonly hash: string; readonly sinceRevision: number },
): number | undefined {
	const little = new Little(1);
	little.settle();
	const { facts } = little;
	facts.setNode({ ...little.node(1), appliedRevision: 5, appliedHash: "h5" });
	const known = [{ node: nodeId(1), told: told.hash, sinceRevision: told.sinceRevision }];
	const waiting = { tablesRevision: awaited } as never;
	const unsettled = { ...facts.unsettled, tasks: new Map([["t1" as never, waiting]]) };
	const [report] = unheardAcknowledgements({ nodes: facts.nodes, unsettled }, 9, known);
	return report?.applied?.revision;
}

test.each([
	["the same assignment is acknowledged at the later revision", 7, "h5", 3, 9],
	["nobody waits for more than it has said", 5, "h5", 3, undefined],
	["another assignment is the node's own to acknowledge", 7, "h7", 7, undefined],
	["so is one that was another in between", 7, "h5", 8, undefined],
])("%s", (_name, awaited, hash, sinceRevision, want) => {
	expect(acknowledged(awaited, { hash, sinceRevision })).toBe(want);
});
