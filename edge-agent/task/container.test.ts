import { describe, expect, test } from "bun:test";
import type { MaterialId, NetworkId, TaskId } from "../../model/id.ts";
import type { PortSpec } from "../../model/service.ts";
import { ContainerError, creationOf, type Site } from "./container.ts";
import { splitReference } from "./controller.ts";
import { taskOf } from "./template.test-data.ts";

const ingress = "n0" as NetworkId;
const front = "n1" as NetworkId;

const site: Site = {
	cluster: "cluster1",
	node: {
		id: "node1",
		hostname: "h1",
		os: "linux",
		architecture: "x86_64",
		address: "192.168.77.1",
	},
	networks: [],
	networkNames: new Map([
		[ingress, ".ingress"],
		[front, "front"],
	]),
	resolvFiles: new Map(),
	nameservers: ["10.200.0.1", "10.200.0.2"],
	severalNetworks: true,
	gatewayPriority: true,
};
const attachments = [
	{ network: ingress, address: "10.0.0.5" },
	{ network: front, address: "10.0.1.5" },
];

const bodyOf = (task: Parameters<typeof taskOf>[0], at = site) => creationOf(taskOf(task), at).body;
const hostOf = (task: Parameters<typeof taskOf>[0], at = site) => bodyOf(task, at).HostConfig;

describe("what the spec says, in the engine's words", () => {
	test.each([
		["entry point", { container: { command: ["/a", "b"] } }, { Entrypoint: ["/a", "b"] }],
		["arguments", { container: { args: ["ping", "h"] } }, { Cmd: ["ping", "h"] }],
		["environment", { container: { env: ["A=1"] } }, { Env: ["A=1"] }],
		[
			"user and folder",
			{ container: { user: "www", dir: "/srv" } },
			{ User: "www", WorkingDir: "/srv" },
		],
		["grace, in whole seconds", { container: { stopGraceMs: 1_200 } }, { StopTimeout: 2 }],
		["stop signal", { container: { stopSignal: "SIGQUIT" } }, { StopSignal: "SIGQUIT" }],
		[
			"health check, in nanoseconds",
			{
				container: {
					healthcheck: {
						test: ["CMD-SHELL", "true"],
						intervalMs: 1_500,
						timeoutMs: 1_000,
						startPeriodMs: 0,
						retries: 2,
					},
				},
			},
			{
				Healthcheck: {
					Test: ["CMD-SHELL", "true"],
					Interval: 1_500_000_000,
					Timeout: 1_000_000_000,
					StartPeriod: 0,
					Retries: 2,
				},
			},
		],
	])("%s", (_name, task, want) => {
		expect(bodyOf(task)).toMatchObject(want);
	});

	test.each([
		[
			"limits and reservations",
			{
				template: {
					limits: { nanoCpus: 5e8, memoryBytes: 1000, pids: 9 },
					reservations: { nanoCpus: 1e9, memoryBytes: 500, pids: 0 },
				},
			},
			{ NanoCpus: 5e8, Memory: 1000, PidsLimit: 9, MemoryReservation: 500 },
		],
		[
			"a bind",
			{
				container: {
					mounts: [
						{ type: "bind", source: "/srv", target: "/www", readOnly: true, propagation: "rslave" },
					],
				},
			},
			{
				Mounts: [
					{
						Type: "bind",
						Source: "/srv",
						Target: "/www",
						ReadOnly: true,
						BindOptions: { Propagation: "rslave" },
					},
				],
			},
		],
		[
			"a volume of a driver",
			{
				container: {
					mounts: [
						{
							type: "volume",
							source: "data-{{.Task.Slot}}",
							target: "/data",
							readOnly: false,
							volume: {
								driver: "local",
								driverOptions: { o: "x" },
								labels: { a: "b" },
								noCopy: true,
							},
						},
					],
				},
			},
			{
				Mounts: [
					{
						Type: "volume",
						Source: "data-1",
						Target: "/data",
						ReadOnly: false,
						VolumeOptions: {
							NoCopy: true,
							Labels: { a: "b", "skein.cluster": "cluster1" },
							DriverConfig: { Name: "local", Options: { o: "x" } },
						},
					},
				],
			},
		],
		[
			"a volume with options, of the engine's own driver",
			{
				container: {
					mounts: [
						{
							type: "volume",
							source: "data",
							target: "/data",
							readOnly: false,
							volume: {
								driver: "",
								driverOptions: { o: "{{.Task.Slot}}" },
								labels: {},
								noCopy: false,
							},
						},
					],
				},
			},
			{
				Mounts: [
					{
						Type: "volume",
						Source: "data",
						Target: "/data",
						ReadOnly: false,
						VolumeOptions: {
							NoCopy: false,
							Labels: { "skein.cluster": "cluster1" },
							DriverConfig: { Options: { o: "1" } },
						},
					},
				],
			},
		],
		[
			"a volume of which nothing but the name is said, and one without a name",
			{
				container: {
					mounts: [
						{ type: "volume", source: "data", target: "/data", readOnly: false },
						{ type: "volume", source: "", target: "/tmp", readOnly: false },
					],
				},
			},
			{
				Mounts: [
					{
						Type: "volume",
						Source: "data",
						Target: "/data",
						ReadOnly: false,
						VolumeOptions: { NoCopy: false, Labels: { "skein.cluster": "cluster1" } },
					},
					{
						Type: "volume",
						Target: "/tmp",
						ReadOnly: false,
						VolumeOptions: { NoCopy: false, Labels: {} },
					},
				],
			},
		],
		[
			"a tmpfs",
			{
				container: {
					mounts: [
						{
							type: "tmpfs",
							source: "",
							target: "/t",
							readOnly: false,
							tmpfs: { sizeBytes: 9, mode: 0o700 },
						},
					],
				},
			},
			{
				Mounts: [
					{
						Type: "tmpfs",
						Target: "/t",
						ReadOnly: false,
						TmpfsOptions: { SizeBytes: 9, Mode: 448 },
					},
				],
			},
		],
		[
			"hosts, the other way round",
			{ container: { hosts: ["10.1.1.1 db db.local"] } },
			{ ExtraHosts: ["db:10.1.1.1", "db.local:10.1.1.1"] },
		],
		[
			"powers and bounds",
			{
				container: {
					capabilityAdd: ["NET_ADMIN"],
					capabilityDrop: ["ALL"],
					sysctls: { "net.core.somaxconn": "9" },
					ulimits: [{ name: "nofile", soft: 1, hard: 2 }],
					noNewPrivileges: true,
					init: true,
					readOnly: true,
				},
			},
			{
				CapAdd: ["NET_ADMIN"],
				CapDrop: ["ALL"],
				Sysctls: { "net.core.somaxconn": "9" },
				Ulimits: [{ Name: "nofile", Soft: 1, Hard: 2 }],
				SecurityOpt: ["no-new-privileges"],
				Init: true,
				ReadonlyRootfs: true,
			},
		],
		["that only the manager restarts it", {}, { RestartPolicy: { Name: "no" } }],
		[
			"a log driver",
			{ template: { logDriver: { name: "json-file", options: { "max-size": "1m" } } } },
			{ LogConfig: { Type: "json-file", Config: { "max-size": "1m" } } },
		],
	])("%s", (_name, task, want) => {
		expect(hostOf(task as Parameters<typeof taskOf>[0])).toMatchObject(want);
	});

	test("nothing that was not asked for: an image keeps its own", () => {
		const body = bodyOf({});
		for (const key of ["Entrypoint", "Cmd", "Hostname", "Healthcheck", "User", "WorkingDir"]) {
			expect(body).not.toHaveProperty(key);
		}
		for (const key of ["Memory", "NanoCpus", "PidsLimit", "Init", "LogConfig"]) {
			expect(body.HostConfig).not.toHaveProperty(key);
		}
	});
});

test("Swarm's labels and ours stand beside the user's, and cannot be taken by them", () => {
	const container = { labels: { a: "b", "skein.task": "another" } };
	expect(bodyOf({ container, generation: 7 }).Labels).toEqual({
		a: "b",
		"com.docker.swarm.node.id": "node1",
		"com.docker.swarm.service.id": "service1",
		"com.docker.swarm.service.name": "web",
		"com.docker.swarm.task": "",
		"com.docker.swarm.task.id": "task1",
		"com.docker.swarm.task.name": "web.1.task1",
		"skein.task": "task1",
		"skein.generation": "7",
		"skein.cluster": "cluster1",
		"skein.slot": "service1:1",
	});
});

test("a task is told which of its node's generic resources are its own", () => {
	const genericResources = { gpu: ["a", "b"], licence: 2 };
	expect(bodyOf({ genericResources, container: { env: ["A=1"] } })["Env"]).toEqual([
		"A=1",
		"DOCKER_RESOURCE_GPU=a,b",
		"DOCKER_RESOURCE_LICENCE=2",
	]);
});

describe("templates", () => {
	test.each([
		["{{.Node.Hostname}}-{{.Task.Slot}}", "h1-1"],
		["{{ .Service.Name }}.{{.Service.ID}}", "web.service1"],
		["{{.Task.Name}} {{.Task.ID}} {{.Node.ID}}", "web.1.task1 task1 node1"],
		['{{index .Service.Labels "tier"}}{{.Service.Labels.tier}}', "frontfront"],
		["{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}", "linux/x86_64"],
		["no template { here }}", "no template { here }}"],
	])("%s", (text, want) => {
		expect(bodyOf({ container: { hostname: text } })["Hostname"]).toBe(want);
		expect(bodyOf({ container: { env: [`A=${text}`] } })["Env"]).toEqual([`A=${want}`]);
	});

	test("in a global service the slot is the node", () => {
		expect(bodyOf({ slot: 0, container: { hostname: "{{.Task.Slot}}" } })["Hostname"]).toBe(
			"node1",
		);
	});

	test("a field that there is not is a reason to refuse, not an empty word", () => {
		expect(() => bodyOf({ container: { hostname: "{{.Task.Colour}}" } })).toThrow(ContainerError);
	});
});

test("secrets and configs are bound in one by one, read-only, from where the agent writes them", () => {
	const file = {
		kind: "secret" as const,
		material: "pw0" as MaterialId,
		version: 2,
		name: "pw",
		target: "/run/secrets/pw",
		uid: 0,
		gid: 0,
		mode: 0o400,
		templating: false,
	};
	const { Mounts } = hostOf({
		id: "t1" as TaskId,
		container: { files: [file, { ...file, target: "/etc/conf" }] },
	});
	const bind = { Type: "bind", ReadOnly: true };
	expect(Mounts).toEqual([
		{ ...bind, Source: "/run/skein-agent/files/t1/0", Target: "/run/secrets/pw" },
		{ ...bind, Source: "/run/skein-agent/files/t1/1", Target: "/etc/conf" },
	]);
});

describe("networks", () => {
	const at = (network: string) => ({
		IPAMConfig: { IPv4Address: network },
		MacAddress: `02:42:${network
			.split(".")
			.map((part) => Number(part).toString(16).padStart(2, "0"))
			.join(":")}`,
	});

	test("all in one call, the first with the default route", () => {
		const { body, connects } = creationOf(taskOf({ attachments }), site);
		expect(connects).toEqual([]);
		expect(body.HostConfig["NetworkMode"]).toBe(".ingress");
		expect(body.NetworkingConfig.EndpointsConfig).toEqual({
			".ingress": { ...at("10.0.0.5"), GwPriority: 100 },
			front: at("10.0.1.5"),
		});
	});

	test("one by one with an engine that takes but one", () => {
		const old = { ...site, severalNetworks: false, gatewayPriority: false };
		const { body, connects } = creationOf(taskOf({ attachments }), old);
		expect(body.NetworkingConfig.EndpointsConfig).toEqual({ ".ingress": at("10.0.0.5") });
		expect(connects).toEqual([{ network: "front", endpoint: at("10.0.1.5") }]);
	});

	test("none: the engine's own bridge, and the machine's resolvers", () => {
		expect(hostOf({})).toMatchObject({ NetworkMode: "bridge", Dns: [] });
	});

	test("names, without a way out: the bridge is asked directly", () => {
		const inner = { ...site, resolvFiles: new Map([[front, "/run/resolv/front"]]) };
		const mount = {
			Type: "bind",
			Source: "/run/resolv/front",
			Target: "/etc/resolv.conf",
			ReadOnly: true,
		};
		expect(hostOf({ attachments: attachments.slice(1) }, inner)["Mounts"]).toEqual([mount]);
		expect(hostOf({ attachments }, inner)["Mounts"]).toEqual([]);
		expect(hostOf({}, inner)["Mounts"]).toEqual([]);
	});

	test("names: our resolvers, or ours and the user's", () => {
		const dns = { nameservers: ["9.9.9.9"], search: ["a.b"], options: ["timeout:1"] };
		expect(hostOf({ attachments })["Dns"]).toEqual(["10.200.0.1", "10.200.0.2"]);
		expect(hostOf({ attachments, container: { dns } })).toMatchObject({
			Dns: ["10.200.0.1", "9.9.9.9"],
			DnsSearch: ["a.b"],
			DnsOptions: ["timeout:1"],
		});
		expect(hostOf({ container: { dns } })["Dns"]).toEqual(["9.9.9.9"]);
	});
});

test("ports of the machine's own", () => {
	const port = (target: number, published: number, protocol: PortSpec["protocol"]): PortSpec => {
		return { name: "", protocol, target, published, mode: "host" };
	};
	const hostPorts = [port(80, 8080, "tcp"), port(80, 8081, "tcp"), port(53, 0, "udp")];
	const body = bodyOf({ hostPorts });
	expect(body["ExposedPorts"]).toEqual({ "80/tcp": {}, "53/udp": {} });
	expect(body.HostConfig["PortBindings"]).toEqual({
		"80/tcp": [{ HostPort: "8080" }, { HostPort: "8081" }],
		"53/udp": [{ HostPort: "" }],
	});
});

test.each([
	["nginx", "nginx", "latest"],
	["nginx:1.22", "nginx", "1.22"],
	["registry:5000/a/nginx", "registry:5000/a/nginx", "latest"],
	["registry:5000/a/nginx:1", "registry:5000/a/nginx", "1"],
	["nginx:1.22@sha256:abc", "nginx", "sha256:abc"],
	["registry:5000/nginx@sha256:abc", "registry:5000/nginx", "sha256:abc"],
])("the engine pulls %s as %s and %s", (image, name, tag) => {
	expect(splitReference(image)).toEqual({ name, tag });
});
