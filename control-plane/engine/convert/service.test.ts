import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { notFound, Refusal } from "../../../model/errors.ts";
import type { NetworkId, ServiceId } from "../../../model/id.ts";
import type { Network } from "../../../model/network.ts";
import { parseBody } from "../body.ts";
import { type ServiceDocument, serviceSchema } from "./document.ts";
import { fromEngine, taskMeaning } from "./service.ts";

const net: Network = {
	id: "net0000000000000000000000" as NetworkId,
	name: "net",
	vni: 4097,
	subnet: "10.0.1.0/24",
	internal: false,
	attachable: true,
	ingress: false,
	labels: {},
	options: {},
	document: {},
	createdMs: 1,
};

const around = {
	id: "0123456789abcdefghijklmno" as ServiceId,
	findNetwork(asked: string) {
		if (asked === net.name || asked === net.id) return net;
		throw notFound(`network ${asked} not found`);
	},
	isNameTaken: () => false,
	nowMs: 0,
	findMaterial: () => undefined,
};

const read = (document: unknown) =>
	fromEngine(
		parseBody<ServiceDocument>(JSON.stringify(document), serviceSchema, "ServiceSpec"),
		around,
	);

test("the least that makes a service gets swarmkit's defaults", () => {
	const { spec, document, warnings } = read({
		TaskTemplate: { ContainerSpec: { Image: "nginx" } },
	});
	expect(warnings).toEqual([]);
	expect(document["Mode"]).toEqual({ Replicated: { Replicas: 1 } });
	expect(spec).toEqual({
		name: expect.stringMatching(/^[a-z]+_[a-z]+$/),
		labels: {},
		mode: { kind: "replicated", replicas: 1 },
		template: {
			container: {
				image: "nginx",
				command: [],
				args: [],
				env: [],
				labels: {},
				dir: "",
				user: "",
				groups: [],
				hostname: "",
				tty: false,
				openStdin: false,
				readOnly: false,
				init: null,
				stopSignal: "",
				stopGraceMs: 10_000,
				mounts: [],
				healthcheck: null,
				hosts: [],
				dns: { nameservers: [], search: [], options: [] },
				capabilityAdd: [],
				capabilityDrop: [],
				sysctls: {},
				ulimits: [],
				noNewPrivileges: false,
				oomScoreAdj: 0,
			},
			limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
			reservations: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
			restart: { condition: "any", delayMs: 5000, maxAttempts: 0, windowMs: 0 },
			placement: { constraints: [], spreads: [], maxReplicasPerNode: 0, platforms: [] },
			networks: [],
			forceUpdate: 0,
			logDriver: null,
		},
		endpointMode: "vip",
		ports: [],
		update: {
			parallelism: 1,
			delayMs: 0,
			failureAction: "pause",
			monitorMs: 5000,
			maxFailureRatio: 0,
			order: "stop-first",
		},
		rollback: {
			parallelism: 1,
			delayMs: 0,
			failureAction: "pause",
			monitorMs: 5000,
			maxFailureRatio: 0,
			order: "stop-first",
		},
	});
});

test("zero in parallel is all at once", () => {
	const { spec } = read({
		TaskTemplate: { ContainerSpec: { Image: "nginx" } },
		UpdateConfig: { Parallelism: 0 },
	});
	expect(spec.update.parallelism).toBe(0);
});

/** Now and then one that is refused. */
function mostly<Good, Bad>(good: readonly Good[], ...bad: readonly Bad[]) {
	return fc.oneof(
		{ weight: 30, arbitrary: fc.constantFrom(...good) },
		{ weight: 1, arbitrary: fc.constantFrom(...bad) },
	);
}

/** Specs that are nearly right: known fields with values that may stand there, and some that may not. */
const specs = fc.record(
	{
		Name: mostly(["web", "a_b", ""], "-bad"),
		Labels: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
		TaskTemplate: fc.record(
			{
				ContainerSpec: fc.record(
					{
						Image: mostly(["nginx", "host:5000/a/b:c"], "Bad"),
						Env: fc.array(fc.string(), { maxLength: 3 }),
						Args: fc.array(fc.string(), { maxLength: 3 }),
						Init: fc.option(fc.boolean()),
						StopGracePeriod: mostly([0, 2e9], -1),
						Mounts: fc.array(
							fc.record(
								{
									Type: mostly(["volume"], "npipe", "bind", "tmpfs"),
									Source: fc.constantFrom("/a", "b", ""),
									Target: mostly(["/x", "/y", "/z", "/v", "/w"], ""),
									TmpfsOptions: fc.record({ SizeBytes: fc.nat() }, { requiredKeys: [] }),
								},
								{ requiredKeys: ["Type", "Target"] },
							),
							{ maxLength: 2 },
						),
						Healthcheck: fc.record(
							{ Interval: mostly([0, 1e9], 5), Retries: mostly([0, 3], -1) },
							{ requiredKeys: [] },
						),
						Privileges: fc.record(
							{ CredentialSpec: fc.constant(null), NoNewPrivileges: fc.boolean() },
							{ requiredKeys: [] },
						),
						Zork: fc.jsonValue(),
					},
					{ requiredKeys: ["Image"] },
				),
				Resources: fc.record({
					Limits: fc.record(
						{ NanoCPUs: mostly([0, 5e8], 7), Pids: fc.integer() },
						{ requiredKeys: [] },
					),
				}),
				Placement: fc.record({
					Constraints: fc.array(mostly(["node.role==worker"], "bad"), { maxLength: 2 }),
				}),
				Networks: fc.array(fc.record({ Target: mostly(["net", net.id], "nope") }), {
					maxLength: 2,
				}),
				ForceUpdate: fc.nat(),
			},
			{ requiredKeys: ["ContainerSpec"] },
		),
		Mode: fc.constantFrom({}, { Global: {} }, { Replicated: {} }, { Replicated: { Replicas: 3 } }),
		UpdateConfig: fc.record(
			{ Parallelism: fc.nat(), Order: mostly(["start-first"], "odd") },
			{ requiredKeys: [] },
		),
		EndpointSpec: fc.record(
			{
				Mode: mostly(["vip", ""], "dnsrr"),
				Ports: fc.array(
					fc.record(
						{
							Protocol: mostly(["tcp", "UDP"], "icmp"),
							TargetPort: mostly([80, 81], 0, 70000),
							PublishedPort: mostly([0, 8080, 8081], 70000),
							PublishMode: fc.constantFrom("host", "ingress", ""),
						},
						{ requiredKeys: ["TargetPort"] },
					),
					{ maxLength: 2 },
				),
			},
			{ requiredKeys: [] },
		),
	},
	{ requiredKeys: ["TaskTemplate"] },
);

describe("laws", () => {
	test("a spec is read or refused, and what is shown of it reads as the same", () => {
		let taken = 0;
		fc.assert(
			fc.property(specs, (asked) => {
				let first: ReturnType<typeof read>;
				try {
					first = read(asked);
				} catch (error) {
					expect(error).toBeInstanceOf(Refusal);
					return;
				}
				taken++;
				const again = read(first.document);
				expect(again).toEqual(first);
				expect(taskMeaning(again.spec)).toBe(taskMeaning(first.spec));
			}),
			{ numRuns: 500 },
		);
		expect(taken).toBeGreaterThan(100);
	});
});
