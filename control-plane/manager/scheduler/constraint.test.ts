import { describe, expect, test } from "bun:test";
import { parseConstraint, satisfies } from "./constraint.ts";
import { node } from "./schedule.test-data.ts";

describe("a constraint is read as Docker reads it", () => {
	test.each<[string, string | undefined, string | undefined, string]>([
		["node.labels.zone==east", "node.labels.zone", "==", "east"],
		["  node.role  !=  manager ", "node.role", "!=", "manager"],
		[
			"engine.labels.operatingsystem==ubuntu 22.04",
			"engine.labels.operatingsystem",
			"==",
			"ubuntu 22.04",
		],
		["node.ip==10.0.0.0/8", "node.ip", "==", "10.0.0.0/8"],
		["node.labels.a==b==c", undefined, undefined, "value 'b==c' is invalid"],
		["node.labels.a!=b==c", undefined, undefined, "key 'node.labels.a!=b' is invalid"],
		["node.role=manager", undefined, undefined, "constraint expected one operator from ==, !="],
		["node.role", undefined, undefined, "constraint expected one operator from ==, !="],
		["==manager", undefined, undefined, "key '' is invalid"],
		["no de==x", undefined, undefined, "key 'no de' is invalid"],
		["node.role==", undefined, undefined, "value '' is invalid"],
		["node.role==a>b", undefined, undefined, "value 'a>b' is invalid"],
	])("%s", (text, key, operator, rest) => {
		const parsed: unknown = parseConstraint(text);
		expect(parsed).toEqual(
			key === undefined
				? { kind: "malformed", message: rest }
				: { kind: "constraint", key, operator, value: rest },
		);
	});
});

describe("a node satisfies", () => {
	const subject = node({
		index: 7,
		labels: { zone: "East", Rack: "r1" },
		engineLabels: { storage: "ssd" },
		role: "manager",
		description: { addresses: ["192.168.77.7", "fd00::7"] },
	});
	test.each([
		["node.id==n7", true],
		["node.id==N7", true],
		["node.hostname==HOST-7", true],
		["node.hostname!=host-7", false],
		["node.role==manager", true],
		["node.role==worker", false],
		["NODE.ROLE==Manager", true],
		["node.platform.os==linux", true],
		["node.platform.arch==x86_64", true],
		["node.platform.arch==amd64", true],
		["node.platform.arch!=amd64", false],
		["node.platform.arch==arm64", false],
		["node.labels.zone==east", true],
		["Node.Labels.zone==east", true],
		// The label's own name is the one thing whose case counts.
		["node.labels.rack==r1", false],
		["node.labels.Rack==r1", true],
		["node.labels.none==x", false],
		["node.labels.none!=x", true],
		["engine.labels.storage==ssd", true],
		["engine.labels.storage!=ssd", false],
		// No globbing, although the grammar lets it through.
		["node.labels.zone==ea*", false],
		["node.ip==192.168.77.7", true],
		["node.ip==FD00::7", true],
		["node.ip!=192.168.77.8", true],
		["node.ip==192.168.0.0/16", true],
		["node.ip!=192.168.0.0/16", false],
		["node.ip==10.0.0.0/8", false],
		// What makes no sense holds nowhere, whichever way it is asked.
		["node.ip==nonsense", false],
		["node.ip!=nonsense", false],
		["node.ip!=1.2.3.0/77", false],
		["node.colour==red", false],
		["node.colour!=red", false],
		["node.labels==x", false],
	])("%s: %p", (text, want) => {
		const constraint = parseConstraint(text);
		if (constraint.kind === "malformed") throw new Error(constraint.message);
		expect(satisfies(subject, constraint)).toBe(want);
	});
});
