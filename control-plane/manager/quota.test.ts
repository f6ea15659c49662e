import { expect, test } from "bun:test";
import type { Change } from "../../model/change.ts";
import type { ClusterId } from "../../model/id.ts";
import { type Limits, noLimits, parseLimits, showAmount } from "../../model/limits.ts";
import type { Mode } from "../../model/service.ts";
import { Facts } from "../../model/snapshot.ts";
import {
	nodeId,
	sampleCluster,
	sampleMaterial,
	sampleNode,
	sampleService,
	serviceId,
} from "../../test/store/sample.ts";
import { refusalOf, usageAfter, usageOf } from "./quota.ts";

test("SKEIN_LIMITS", () => {
	expect(parseLimits(undefined)).toEqual(noLimits);
	expect(parseLimits("clusters=3 nodes=20,tasks=1000\n contents=10MB")).toEqual({
		...noLimits,
		clusters: 3,
		nodes: 20,
		tasks: 1000,
		contents: 10_000_000,
	});
	for (const wrong of ["nodes", "nodes=-1", "nodes=10MB", "volumes=3", "contents=many"]) {
		expect(() => parseLimits(`services=1 ${wrong}`)).toThrow(
			`SKEIN_LIMITS: ${wrong} is no limit such as nodes=20 or contents=10MB`,
		);
	}
	expect(showAmount("contents", 2_540_000)).toBe("2.5 MB");
	expect(showAmount("contents", 0)).toBe("0 B");
	expect(showAmount("nodes", 2_000)).toBe("2000");
});

const service = (n: number, mode: Mode, removing = false): Change => {
	const made = sampleService(n);
	return { kind: "put-service", service: { ...made, removing, spec: { ...made.spec, mode } } };
};
const replicas = (n: number, count: number) => service(n, { kind: "replicated", replicas: count });
const node = (n: number): Change => ({ kind: "put-node", node: sampleNode(n) });
const secret = (n: number, ...sizes: readonly number[]): Change => {
	const made = sampleMaterial(n, [1]);
	const [first, ...more] = sizes.map((bytes, at) => ({
		...{ number: at + 1, templating: false, createdMs: 1 },
		bytes,
	}));
	if (!first) throw new Error("a material has a version");
	return { kind: "put-material", material: { ...made, versions: [first, ...more] } };
};

/** Two nodes, a service of three, one on each node, a job of five at two a time, 100 bytes. */
function cluster(): Facts {
	const facts = new Facts(sampleCluster("c".repeat(25) as ClusterId));
	const job = { kind: "replicated-job", totalCompletions: 5, maxConcurrent: 2 } as const;
	for (const change of [node(1), node(2), replicas(1, 3), service(2, { kind: "global" })]) {
		facts.apply(change);
	}
	facts.apply(service(3, job));
	facts.apply(secret(1, 60, 40));
	return facts;
}

function refused(limits: Partial<Limits>, ...changes: readonly Change[]): string | undefined {
	const facts = cluster();
	const after = usageAfter(facts, changes);
	return after && refusalOf({ ...noLimits, ...limits }, usageOf(facts), after)?.message;
}

test("what counts is what specs ask for, on the nodes that there are", () => {
	expect(usageOf(cluster())).toEqual({ nodes: 2, services: 3, tasks: 7, contents: 100 });
});

test("each limit holds at its edge, and says what there is and what to do", () => {
	expect(refused({ nodes: 3 }, node(3))).toBeUndefined();
	expect(refused({ nodes: 2 }, node(3))).toBe(
		"nodes: this organization may have 2 nodes in a cluster; there are 2, and this would make it 3. " +
			"Remove one that is gone for good (docker node rm), or ask whoever runs this control plane for a higher limit",
	);
	expect(refused({ services: 4 }, replicas(9, 1))).toBeUndefined();
	expect(refused({ services: 3 }, replicas(9, 1))).toStartWith("services: ");
	expect(refused({ tasks: 8 }, replicas(1, 4))).toBeUndefined();
	expect(refused({ tasks: 7 }, replicas(1, 4))).toStartWith("tasks: ");
	expect(refused({ tasks: 7 }, node(3))).toStartWith("tasks: ");
	expect(refused({ contents: 101 }, secret(2, 1))).toBeUndefined();
	expect(refused({ contents: 100 }, secret(1, 60, 41))).toStartWith("contents: ");
});

test("only growth is refused: whoever is over may change what is there, and take away", () => {
	const over = { nodes: 1, services: 1, tasks: 1, contents: 1 };
	expect(refused(over, replicas(1, 2))).toBeUndefined();
	expect(refused(over, { kind: "remove-service", id: serviceId(1) })).toBeUndefined();
	expect(refused(over, { kind: "remove-node", id: nodeId(1) }, node(3))).toBeUndefined();
	expect(refused(over, secret(1, 60))).toBeUndefined();
	// Of a content that takes another's place, only the difference is more.
	expect(refused({ contents: 100 }, secret(1, 40, 60))).toBeUndefined();
	expect(refused(over, { kind: "put-node", node: sampleNode(1, 7) })).toBeUndefined();
});

test("a service that winds down makes room at once, and takes it again when it comes back", () => {
	const facts = cluster();
	facts.apply(service(1, { kind: "replicated", replicas: 3 }, true));
	expect(usageOf(facts)).toMatchObject({ services: 2, tasks: 4 });
	expect(usageAfter(facts, [replicas(1, 1)])).toMatchObject({ services: 3, tasks: 5 });
});
