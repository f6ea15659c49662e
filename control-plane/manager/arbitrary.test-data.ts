// Clusters with a past: users, machines and misfortunes in any order, for properties that must hold whatever happened.

import fc from "fast-check";
import { isTerminal } from "../../model/taskstate.ts";
import { Little, networkId, nodeId, serviceId } from "../../test/build.ts";

export type Event =
	| { readonly kind: "create"; readonly name: string; readonly words: CreateWords }
	| { readonly kind: "scale"; readonly name: string; readonly replicas: number }
	| {
			readonly kind: "update";
			readonly name: string;
			readonly image: string;
			readonly order: "stop-first" | "start-first";
			readonly rebalance: boolean;
			readonly maxFailureRatio: number;
	  }
	| { readonly kind: "remove"; readonly name: string }
	| {
			readonly kind: "availability";
			readonly node: number;
			readonly availability: "active" | "pause" | "drain";
	  }
	| { readonly kind: "join" | "silence" | "wake" | "lag" | "forget"; readonly node: number }
	| { readonly kind: "end"; readonly pick: number; readonly state: "failed" | "complete" }
	| { readonly kind: "sick"; readonly pick: number }
	| { readonly kind: "disk"; readonly node: number; readonly full: boolean }
	| { readonly kind: "pass"; readonly ms: number }
	| { readonly kind: "turns"; readonly count: number };

interface CreateWords {
	readonly replicas: number;
	readonly mode: "replicated" | "global" | "replicated-job" | "global-job";
	readonly concurrent: number;
	/** Of jobs. */
	readonly schedule: "" | "*/30 * * * * *";
	readonly networks: readonly string[];
	readonly published: boolean;
	readonly condition: "any" | "on-failure" | "none";
}

const name = fc.constantFrom("web", "db", "log");
const node = fc.integer({ min: 1, max: 4 });

export const event: fc.Arbitrary<Event> = fc.oneof(
	{
		weight: 3,
		arbitrary: fc.record({
			kind: fc.constant("create" as const),
			name,
			words: fc.record({
				replicas: fc.integer({ min: 0, max: 4 }),
				mode: fc.constantFrom(
					"replicated" as const,
					"replicated" as const,
					"global" as const,
					"replicated-job" as const,
					"global-job" as const,
				),
				concurrent: fc.integer({ min: 1, max: 3 }),
				schedule: fc.constantFrom("" as const, "" as const, "*/30 * * * * *" as const),
				networks: fc.subarray(["one", "tiny"]),
				published: fc.boolean(),
				condition: fc.constantFrom(
					"any" as const,
					"any" as const,
					"on-failure" as const,
					"none" as const,
				),
			}),
		}),
	},
	fc.record({
		kind: fc.constant("scale" as const),
		name,
		replicas: fc.integer({ min: 0, max: 5 }),
	}),
	fc.record({
		kind: fc.constant("update" as const),
		name,
		image: fc.constantFrom("a", "b", "c"),
		order: fc.constantFrom("stop-first" as const, "stop-first" as const, "start-first" as const),
		rebalance: fc.boolean(),
		maxFailureRatio: fc.constantFrom(0, 0, 0.5),
	}),
	fc.record({ kind: fc.constant("remove" as const), name }),
	fc.record({
		kind: fc.constant("availability" as const),
		node,
		availability: fc.constantFrom("active" as const, "pause" as const, "drain" as const),
	}),
	fc.record({
		kind: fc.constantFrom(
			"join" as const,
			"silence" as const,
			"wake" as const,
			"lag" as const,
			"forget" as const,
		),
		node,
	}),
	fc.record({
		kind: fc.constant("end" as const),
		pick: fc.nat(100),
		state: fc.constantFrom("failed" as const, "complete" as const),
	}),
	fc.record({ kind: fc.constant("sick" as const), pick: fc.nat(100) }),
	fc.record({ kind: fc.constant("disk" as const), node, full: fc.boolean() }),
	fc.record({
		kind: fc.constant("pass" as const),
		ms: fc.constantFrom(100, 3_000, 20_000, 70_000),
	}),
	{
		weight: 4,
		arbitrary: fc.record({
			kind: fc.constant("turns" as const),
			count: fc.integer({ min: 1, max: 8 }),
		}),
	},
);

export const history = fc.array(event, { maxLength: 40, size: "max" });

/** What may befall one job, and little else. */
export const historyOfJob: fc.Arbitrary<Event[]> = fc
	.record({
		replicas: fc.integer({ min: 1, max: 3 }),
		mode: fc.constantFrom("replicated-job" as const, "global-job" as const),
		concurrent: fc.integer({ min: 1, max: 3 }),
		condition: fc.constantFrom("on-failure" as const, "none" as const),
		schedule: fc.constantFrom("" as const, "" as const, "*/30 * * * * *" as const),
		past: fc.array(
			fc.oneof(
				{ weight: 3, arbitrary: event.filter(({ kind }) => kind === "end") },
				{ weight: 3, arbitrary: event.filter(({ kind }) => kind === "availability") },
				{ weight: 3, arbitrary: event.filter(({ kind }) => kind === "turns") },
				event.filter(({ kind }) => /^(update|silence|wake|lag|pass|turns)$/.test(kind)),
			),
			{ maxLength: 40, size: "max" },
		),
	})
	.map(({ past, ...words }) => [
		{
			kind: "create",
			name: "web",
			words: { ...words, networks: ["one"], published: false },
		},
		{ kind: "turns", count: 3 },
		...past.map((each) => ("name" in each ? { ...each, name: "web" } : each)),
	]);

/** A small network beside a roomy one, so that addresses run out now and then. */
export function begin(): Little {
	const little = new Little(2);
	little.network("one", { attachable: true });
	little.network("tiny", { subnet: "10.9.9.0/29" });
	little.settle();
	return little;
}

/** Everything but planning: what a user or a machine does to the facts. Users' changes land with their plan. */
export function befall(little: Little, event: Event): void {
	switch (event.kind) {
		case "create": {
			if (little.facts.services.has(serviceId(event.name))) return;
			const { replicas, mode, concurrent, networks, published, condition, schedule } = event.words;
			const isByClock = mode.endsWith("-job") && schedule !== "";
			little.create(event.name, {
				replicas,
				mode,
				concurrent,
				spec: { labels: isByClock ? { "skein.schedule": schedule } : {} },
				networks,
				ports: published ? [{}] : [],
				template: {
					networks: networks.map((each) => ({ network: networkId(each), aliases: [] })),
					restart: { condition, delayMs: 2000, maxAttempts: 0, windowMs: 0 },
				},
			});
			return;
		}
		case "scale": {
			const known = little.facts.services.get(serviceId(event.name));
			if (known?.spec.mode.kind !== "replicated" || known.removing) return;
			little.scale(event.name, event.replicas);
			return;
		}
		case "update":
			if (little.facts.services.get(serviceId(event.name))?.removing !== false) return;
			little.update(event.name, (spec) => ({
				...spec,
				update: {
					...spec.update,
					order: event.order,
					maxFailureRatio: event.maxFailureRatio,
				},
				...(event.rebalance && spec.mode.kind === "replicated" && { rebalance: event.order }),
				template: {
					...spec.template,
					container: { ...spec.template.container, image: event.image },
				},
			}));
			return;
		case "remove":
			if (little.facts.services.has(serviceId(event.name))) little.remove(event.name);
			return;
		case "availability":
			if (little.facts.nodes.has(nodeId(event.node))) {
				little.availability(event.node, event.availability);
			}
			return;
		case "join":
			if (!little.facts.nodes.has(nodeId(event.node))) little.join(event.node);
			return;
		case "silence":
			little.silent.add(nodeId(event.node));
			return;
		case "wake":
			little.silent.delete(nodeId(event.node));
			little.lagging.delete(nodeId(event.node));
			return;
		case "lag":
			little.lagging.add(nodeId(event.node));
			return;
		case "forget":
			if (little.facts.nodes.size < 2 || !little.facts.nodes.has(nodeId(event.node))) return;
			little.commit([{ kind: "remove-node", id: nodeId(event.node) }]);
			return;
		case "end":
		case "sick": {
			const running = [...little.facts.tasks.values()]
				.filter(({ status }) => status.state === "running" && !isTerminal(status.state))
				.sort((a, b) => (a.id < b.id ? -1 : 1));
			const task = running[event.pick % Math.max(1, running.length)];
			if (!task) return;
			if (event.kind === "end") little.report(task, { state: event.state });
			else little.report(task, { health: "unhealthy" });
			return;
		}
		case "disk": {
			const known = little.facts.nodes.get(nodeId(event.node));
			if (!known) return;
			const description = { ...known.description, diskFull: event.full };
			little.facts.setNode({ ...known, description });
			return;
		}
		case "pass":
			little.nowMs += event.ms;
			return;
		case "turns":
			for (let count = 0; count < event.count; count++) little.turn();
			return;
	}
}
