import { expect, test } from "bun:test";
import { Little, nodeId } from "../../test/build.ts";
import { newsOf } from "./news.ts";
import { planAfter } from "./plan.ts";

const told = (news: ReturnType<typeof newsOf>) =>
	news.map(({ type, attributes }) => `${type} ${JSON.stringify(attributes)}`);

test("an update that begins is told, beside what the person who asked for it is told of", () => {
	const little = new Little(2);
	little.create("web", { replicas: 2 });
	little.settle();
	const { spec, ...service } = little.service("web");
	const container = { ...spec.template.container, image: "nginx:2" };
	const template = { ...spec.template, container };
	const asked = [
		{
			kind: "put-service" as const,
			service: { ...service, spec: { ...spec, template }, templateVersion: 2 },
		},
		{
			kind: "put-template" as const,
			template: { service: service.id, version: 2, template, hostPorts: [], document: {} },
		},
	];
	const planned = planAfter(little.facts, asked, little.moment(), "all");
	expect(told(newsOf(little.facts, asked, planned.changes))).toEqual([
		'service {"name":"web","updatestate.new":"updating"}',
	]);
});

test("a node that goes and comes is told, and nothing else of it", () => {
	const little = new Little(2);
	little.settle();
	const node = little.node(2);
	const down = { ...node, status: { state: "down" as const, message: "silent", sinceMs: 1 } };
	expect(told(newsOf(little.facts, [], [{ kind: "put-node", node: down }]))).toEqual([
		'node {"name":"n2","state.old":"ready","state.new":"down"}',
	]);
	const renewed = { ...node, leaseUntilMs: node.leaseUntilMs + 1 };
	expect(newsOf(little.facts, [], [{ kind: "put-node", node: renewed }])).toEqual([]);
	expect(little.facts.nodes.has(nodeId(2))).toBe(true);
});
