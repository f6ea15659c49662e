// The door's own rules, asked as any client would: look-ups, filters, refusals, versions. Every answer is held against
// Docker's schema on the way.

import { afterEach, describe, expect, test } from "bun:test";
import type { AskNode } from "../../control-plane/cluster.ts";
import type { ServiceId } from "../../model/id.ts";
import { answering, type Door, openDoor } from "./door.ts";

let door: Door;
afterEach(() => {
	expect(door.faults).toEqual([]);
	door.close();
});

const filters = (of: unknown) => `filters=${encodeURIComponent(JSON.stringify(of))}`;
const web = (more: object = {}, template: object = {}, container: object = {}) => ({
	Name: "web",
	TaskTemplate: { ContainerSpec: { Image: "nginx:1.22", ...container }, ...template },
	Mode: { Replicated: { Replicas: 2 } },
	...more,
});
const published = (published: number, more: object = {}) => ({
	EndpointSpec: { Ports: [{ Protocol: "tcp", TargetPort: 80, PublishedPort: published, ...more }] },
});
const overlay = (name: string, more: object = {}) => ({ Name: name, Driver: "overlay", ...more });

describe("every request", () => {
	test("carries what clients choose their version by", async () => {
		door = await openDoor();
		for (const [method, path] of [
			["HEAD", "/_ping"],
			["GET", "/_ping"],
			["GET", "/v1.41/_ping"],
			["GET", "/nope"],
			["GET", "/services/nope"],
		] as const) {
			const { headers } = await door.ask(method, path);
			expect(headers.get("Api-Version")).toBe("1.51");
			expect(headers.get("Ostype")).toBe("linux");
			expect(headers.get("Docker-Experimental")).toBe("false");
			expect(headers.get("Swarm")).toBe("active/manager");
		}
		expect((await door.ask("GET", "/_ping")).body).toBe("OK");
	});

	test("without a cluster: only who we are is told", async () => {
		door = await openDoor({ init: false });
		for (const path of ["/services", "/nodes", "/tasks", "/networks", "/swarm", "/secrets"]) {
			const { status, body } = await door.ask("GET", path);
			expect([path, status]).toEqual([path, 503]);
			expect(body.message).toStartWith("This node is not a swarm manager.");
		}
		expect((await door.ask("GET", "/_ping")).headers.get("Swarm")).toBe("inactive");
		expect((await door.ask("GET", "/info")).body.Swarm.LocalNodeState).toBe("inactive");
	});

	test.each([
		["GET", "/nope"],
		["PUT", "/services"],
		["GET", "/v1.41/nope/at/all"],
		["POST", "/session"],
	])("%s %s is no page of ours", async (method, path) => {
		door = await openDoor();
		const { status, body, headers } = await door.ask(method, path);
		expect([status, body]).toEqual([404, { message: "page not found" }]);
		expect(headers.get("Content-Type")).toBe("application/json");
	});

	test.each([
		["/v1.24/services", 200],
		["/v1.51/services", 200],
		["/services", 200],
		["/v1.52/services", 400],
		["/v1.23/services", 400],
		["/v2.0/services", 400],
	])("%s: %d", async (path, status) => {
		door = await openDoor();
		expect((await door.ask("GET", path)).status).toBe(status);
	});
});

describe("bodies that are no specs", () => {
	test.each([
		["nothing", "", "got EOF while reading request body"],
		["half of one", '{"Name":', "unexpected EOF"],
		["an open string", '{"Name": "x', "unexpected EOF"],
		["a word", "hello", "invalid character 'h' looking for beginning of value"],
		[
			"a comma too many",
			'{"a":1,}',
			"invalid character '}' looking for beginning of object key string",
		],
		["no colon", '{"a" 1}', "invalid character '1' after object key"],
		["two values", "{} {}", "invalid character '{' after top-level value"],
		["no comma", '{"a":[1 2]}', "invalid character '2' after array element"],
		[
			"a list",
			"[]",
			"json: cannot unmarshal array into Go struct field ServiceSpec of type struct",
		],
		[
			"a name that is a number",
			'{"Name":1}',
			"json: cannot unmarshal number 1 into Go struct field ServiceSpec.Name of type string",
		],
		[
			"replicas in words",
			'{"Mode":{"Replicated":{"Replicas":"two"}}}',
			"json: cannot unmarshal string into Go struct field ServiceSpec.Mode.Replicated.Replicas of type int64",
		],
		[
			"negative replicas",
			'{"Mode":{"Replicated":{"Replicas":-1}}}',
			"json: cannot unmarshal number -1 into Go struct field ServiceSpec.Mode.Replicated.Replicas of type uint64",
		],
		["a tower of brackets", "[".repeat(100_000), "invalid JSON: exceeded max depth"],
		[
			"a tower in a field",
			`{"Labels":${'{"a":'.repeat(500)}1${"}".repeat(501)}`,
			"invalid JSON: exceeded max depth",
		],
	])("%s", async (_name, body, message) => {
		door = await openDoor();
		const answer = await door.ask("POST", "/services/create", body);
		expect([answer.status, answer.body.message]).toEqual([400, message]);
	});

	test("more than ten megabytes", async () => {
		door = await openDoor();
		const big = JSON.stringify(web({}, {}, { Env: ["x".repeat(11 * 1024 * 1024)] }));
		const { status, body } = await door.ask("POST", "/services/create", big);
		expect(status).toBe(413);
		expect(body.message).toContain("too large");
		expect((await door.ask("GET", "/services")).body).toEqual([]);
	});
});

describe("services that are refused", () => {
	const refused = "rpc error: code = InvalidArgument desc = ";
	test.each<[string, object, string]>([
		["no image", web({}, {}, { Image: "" }), "ContainerSpec: image reference must be provided"],
		[
			"no image at all",
			{ Name: "web", TaskTemplate: { ContainerSpec: {} } },
			"ContainerSpec: image reference must be provided",
		],
		[
			"a bad image",
			web({}, {}, { Image: "a b" }),
			'ContainerSpec: "a b" is not a valid repository/tag',
		],
		["a bad name", web({ Name: "-web" }), "name must be valid as a DNS name component"],
		["a long name", web({ Name: "w".repeat(64) }), "name must be 63 characters or fewer"],
		[
			"dnsrr with a port",
			web({ EndpointSpec: { Mode: "dnsrr", Ports: [{ TargetPort: 80 }] } }),
			"EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
		],
		[
			"a port twice",
			web({
				EndpointSpec: {
					Ports: [
						{ TargetPort: 80, PublishedPort: 8 },
						{ TargetPort: 81, PublishedPort: 8 },
					],
				},
			}),
			"EndpointSpec: duplicate published ports provided",
		],
		[
			"a port out of range",
			web({ EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 70000 }] } }),
			"EndpointSpec: invalid published port 70000: 0 to 65535",
		],
		[
			"no target port",
			web({ EndpointSpec: { Ports: [{ PublishedPort: 80 }] } }),
			"EndpointSpec: invalid target port 0: 1 to 65535",
		],
		[
			"a generic resource by name",
			web(
				{},
				{
					Resources: {
						Reservations: {
							GenericResources: [{ NamedResourceSpec: { Kind: "gpu", Value: "a" } }],
						},
					},
				},
			),
			'invalid Reservations.GenericResources: "gpu=a": a kind and how many of it, as in "gpu=2"',
		],
		[
			"an order of rebalancing that there is not",
			web({ Labels: { "skein.rebalance": "yes" } }),
			'label skein.rebalance: "yes": start-first (no gap, another address) or stop-first (a gap, the same address)',
		],
		[
			"rebalancing where nothing can move",
			web({ Labels: { "skein.rebalance": "stop-first" }, Mode: { Global: {} } }),
			"label skein.rebalance: only replicated services can be rebalanced",
		],
		[
			"a constraint without an operator",
			web({}, { Placement: { Constraints: ["node.role"] } }),
			"constraint expected one operator from ==, !=",
		],
		[
			"a mount point twice",
			web(
				{},
				{},
				{
					Mounts: [
						{ Type: "tmpfs", Target: "/t" },
						{ Type: "tmpfs", Target: "/t" },
					],
				},
			),
			"ContainerSpec: duplicate mount point: /t",
		],
		[
			"a relative bind",
			web({}, {}, { Mounts: [{ Type: "bind", Source: "x", Target: "/t" }] }),
			`invalid mount config for type "bind": invalid mount path: 'x' mount path must be absolute`,
		],
		[
			"too little memory",
			web({}, { Resources: { Limits: { MemoryBytes: 1000 } } }),
			"invalid memory value 1000: Must be at least 4MiB",
		],
		[
			"too little of a CPU",
			web({}, { Resources: { Limits: { NanoCPUs: 1000 } } }),
			"invalid cpu value 0.000001: Must be at least 0.001",
		],
		[
			"a negative grace",
			web({}, {}, { StopGracePeriod: -1 }),
			"ContainerSpec: stop-grace-period cannot be negative",
		],
		[
			"a hasty health check",
			web({}, {}, { Healthcheck: { Interval: 1000 } }),
			"ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
		],
		[
			"an unknown order",
			web({ UpdateConfig: { Order: "sideways" } }),
			"unrecognized update order sideways: stop-first or start-first",
		],
		[
			"a ratio above one",
			web({ UpdateConfig: { MaxFailureRatio: 2 } }),
			"TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
		],
		[
			"a secret",
			web({}, {}, { Secrets: [{ SecretName: "pw", SecretID: "x", File: { Name: "pw" } }] }),
			"secret not found: pw",
		],
		[
			"the ingress network",
			web({}, { Networks: [{ Target: "ingress" }] }),
			'Service cannot be explicitly attached to the ingress network "ingress"',
		],
		[
			"only an internal network, and a port",
			web(published(80), { Networks: [{ Target: "inside" }] }),
			"EndpointSpec: network inside is internal, so the service can not publish ports: attach it to a network that is not internal too, or drop the published ports",
		],
	])("%s", async (_name, body, message) => {
		door = await openDoor();
		await door.ask("POST", "/networks/create", overlay("inside", { Internal: true }));
		const answer = await door.ask("POST", "/services/create", body);
		expect([answer.status, answer.body.message]).toEqual([400, refused + message]);
		expect((await door.ask("GET", "/services")).body).toEqual([]);
	});

	test.each<[string, object, number, string]>([
		[
			"an unknown network",
			web({}, { Networks: [{ Target: "nope" }] }),
			404,
			"network nope not found",
		],
		["an empty spec", {}, 400, "mismatched Runtime and *Spec fields"],
		[
			"a job with an update config",
			web({ Mode: { ReplicatedJob: {} }, UpdateConfig: { Parallelism: 1 } }),
			400,
			"Jobs may not have an update config",
		],
		[
			"a job of which none may run",
			web({ Mode: { ReplicatedJob: { TotalCompletions: 2, MaxConcurrent: 0 } } }),
			400,
			"Mode.ReplicatedJob.MaxConcurrent is 0",
		],
		[
			"two modes at once",
			web({ Mode: { GlobalJob: {}, Global: {} } }),
			400,
			"must specify only one service mode",
		],
		[
			"a schedule that is none",
			web({ Mode: { GlobalJob: {} }, Labels: { "skein.schedule": "whenever" } }),
			400,
			'label skein.schedule: "whenever" is no schedule',
		],
		[
			"a schedule in a time zone that is none",
			web({
				Mode: { GlobalJob: {} },
				Labels: { "skein.schedule": "@daily", "skein.schedule.timezone": "Mars/Base" },
			}),
			400,
			'label skein.schedule.timezone: "Mars/Base" is no time zone',
		],
		[
			"a schedule for what is no job",
			web({ Labels: { "skein.schedule": "@daily" } }),
			400,
			"label skein.schedule is for jobs: use --mode replicated-job or --mode global-job",
		],
		[
			"a plugin",
			{ Name: "p", TaskTemplate: { PluginSpec: {}, Runtime: "plugin" } },
			501,
			"only the container runtime",
		],
	])("%s", async (_name, body, status, message) => {
		door = await openDoor();
		const answer = await door.ask("POST", "/services/create", body);
		expect(answer.status).toBe(status);
		expect(answer.body.message).toContain(message);
	});

	test("a taken name, a taken port", async () => {
		door = await openDoor();
		const { body: first } = await door.ask("POST", "/services/create", web(published(8091)));
		const name = await door.ask("POST", "/services/create", web());
		expect(name.status).toBe(409);
		expect(name.body.message).toContain("service web already exists");
		const port = await door.ask("POST", "/services/create", web({ ...published(8091), Name: "b" }));
		expect([port.status, port.body.message]).toEqual([
			400,
			`${refused}port '8091' is already in use by service 'web' (${first.ID}) as an ingress port`,
		]);
		const udp = { Protocol: "udp" };
		const other = await door.ask(
			"POST",
			"/services/create",
			web({ ...published(8091, udp), Name: "c" }),
		);
		expect(other.status).toBe(201);
	});

	test("names are the same in any case, as they are in DNS", async () => {
		door = await openDoor();
		await door.ask("POST", "/services/create", web());
		expect((await door.ask("POST", "/services/create", web({ Name: "Web" }))).status).toBe(409);
		await door.ask("POST", "/networks/create", overlay("net"));
		expect((await door.ask("POST", "/networks/create", overlay("NET"))).status).toBe(409);
	});

	test("a taken port in an update, and one's own", async () => {
		door = await openDoor();
		await door.ask("POST", "/services/create", web(published(8091)));
		await door.ask("POST", "/services/create", web({ ...published(8092), Name: "b" }));
		const taken = await door.ask(
			"POST",
			"/services/b/update?version=1",
			web({ ...published(8091), Name: "b" }),
		);
		expect(taken.status).toBe(400);
		const own = await door.ask(
			"POST",
			"/services/b/update?version=1",
			web({ ...published(8092), Name: "b" }),
		);
		expect(own.status).toBe(200);
	});
});

describe("looking up", () => {
	test("full id, then name, then the beginning of an id", async () => {
		door = await openDoor();
		const { body: a } = await door.ask("POST", "/services/create", web());
		// A service whose name is the beginning of another's id.
		await door.ask("POST", "/services/create", web({ Name: a.ID.slice(0, 5) }));
		const id = async (asked: string) => (await door.ask("GET", `/services/${asked}`)).body.ID;
		expect(await id(a.ID)).toBe(a.ID);
		expect(await id("web")).toBe(a.ID);
		expect(await id(a.ID.slice(0, 12))).toBe(a.ID);
		expect(await id(a.ID.slice(0, 5))).not.toBe(a.ID);
	});

	test("what fits several is ambiguous", async () => {
		door = await openDoor();
		const ids: string[] = [];
		for (let at = 0; at < 40; at++) {
			ids.push(
				(
					await door.ask(
						"POST",
						"/services/create",
						web({ Name: `s${at}`, Mode: { Replicated: { Replicas: 0 } } }),
					)
				).body.ID,
			);
		}
		const [first = "", count = 0] =
			[...Map.groupBy(ids, (id) => id[0] ?? "")]
				.map(([letter, group]) => [letter, group.length] as const)
				.filter(([letter, size]) => size > 1 && letter !== "s")[0] ?? [];
		const { status, body } = await door.ask("GET", `/services/${first}`);
		expect([status, body.message]).toEqual([
			400,
			`service ${first} is ambiguous (${count} matches found)`,
		]);
	});

	test.each(["services", "nodes", "networks", "tasks"])("%s: none of that name", async (kind) => {
		door = await openDoor();
		const { status, body } = await door.ask("GET", `/${kind}/nope`);
		expect([status, body.message]).toEqual([404, `${kind.slice(0, -1)} nope not found`]);
	});
});

describe("lists", () => {
	test.each<[string, unknown, string[]]>([
		["a name is a prefix", { name: { we: true } }, ["web", "web2"]],
		["in a list too", { name: ["web2"] }, ["web2"]],
		["one of several", { name: ["web2", "db"] }, ["db", "web2"]],
		["what is not true is not asked", { name: { we: false } }, ["db", "web", "web2"]],
		["a label that is there", { label: ["tier"] }, ["db", "web"]],
		["with its value", { label: ["tier=back"] }, ["db"]],
		["labels must all hold", { label: ["tier=back", "nope"] }, []],
		["by mode", { mode: ["global"] }, ["web2"]],
		["both hold", { name: ["web"], label: ["tier"] }, ["web"]],
	])("%s", async (_name, asked, want) => {
		door = await openDoor();
		await door.ask("POST", "/services/create", web({ Labels: { tier: "front" } }));
		await door.ask("POST", "/services/create", web({ Name: "web2", Mode: { Global: {} } }));
		await door.ask("POST", "/services/create", web({ Name: "db", Labels: { tier: "back" } }));
		const { body } = await door.ask("GET", `/services?${filters(asked)}`);
		expect(body.map((service: { Spec: { Name: string } }) => service.Spec.Name)).toEqual(want);
	});

	test.each([
		["/services", "{bad", 400, "invalid character 'b' looking for beginning of object key string"],
		["/services", '{"bogus":["x"]}', 400, "Invalid filter 'bogus'"],
		["/nodes", '{"bogus":["x"]}', 400, "Invalid filter 'bogus'"],
		["/networks", '{"bogus":["x"]}', 400, "Invalid filter 'bogus'"],
		["/tasks", '{"desired-state":["bogus"]}', 500, "Invalid desired-state filter: 'bogus'"],
		["/tasks", '{"service":["nope"]}', 404, "service nope not found"],
		["/tasks", '{"node":["nope"]}', 404, "node nope not found"],
		["/services", "[]", 400, "json: cannot unmarshal filters: an object of keys is expected"],
	])("%s?filters=%s", async (path, text, status, message) => {
		door = await openDoor();
		const answer = await door.ask("GET", `${path}?filters=${encodeURIComponent(text)}`);
		expect([answer.status, answer.body.message]).toEqual([status, message]);
	});

	test("replicas are counted only when asked", async () => {
		door = await openDoor({ nodes: ["h1", "h2"] });
		await door.ask("POST", "/services/create", web());
		await door.settle();
		const status = async (query: string) =>
			(await door.ask("GET", `/services${query}`)).body[0].ServiceStatus;
		expect(await status("?status=true")).toEqual({
			RunningTasks: 2,
			DesiredTasks: 2,
			CompletedTasks: 0,
		});
		for (const query of ["", "?status=False", "?status=0"])
			expect(await status(query)).toBeUndefined();
	});

	test("tasks by service, node, label of the service and state", async () => {
		door = await openDoor({ nodes: ["h1", "h2"] });
		await door.ask("POST", "/services/create", web({ Labels: { app: "x" } }));
		await door.ask("POST", "/services/create", web({ Name: "other" }));
		await door.settle();
		const count = async (asked: unknown) =>
			(await door.ask("GET", `/tasks?${filters(asked)}`)).body.length;
		expect(await count({})).toBe(4);
		expect(await count({ service: ["web"] })).toBe(2);
		expect(await count({ node: ["h1"] })).toBe(2);
		expect(await count({ service: ["web"], node: ["h1"] })).toBe(1);
		expect(await count({ label: ["app=x"] })).toBe(2);
		expect(await count({ "desired-state": ["running"] })).toBe(4);
		expect(await count({ "desired-state": ["shutdown"] })).toBe(0);
		expect(await count({ name: ["oth"] })).toBe(2);
	});
});

describe("the list that progress bars poll", () => {
	test("is held until something happens", async () => {
		door = await openDoor({ nodes: ["h1"] });
		await door.ask("POST", "/services/create", web());
		await door.settle();
		const query = filters({ service: ["web"], "_up-to-date": ["true"] });
		const polled = door.ask("GET", `/tasks?${query}`);
		expect(await Promise.race([polled, Bun.sleep(50).then(() => "held")])).toBe("held");
		await door.ask("DELETE", "/services/web");
		await polled;
	});

	test("leaves out tasks of an older template", async () => {
		door = await openDoor({ nodes: ["h1"] });
		await door.ask("POST", "/services/create", web());
		await door.settle();
		const ids = async (upToDate: string) =>
			(await door.ask("GET", `/tasks?${filters({ "_up-to-date": [upToDate] })}`)).body.length;
		expect([await ids("true"), await ids("false")]).toEqual([2, 0]);
		await door.ask("POST", "/services/web/update?version=1", web({}, {}, { Image: "nginx:2" }));
		expect(await ids("false")).toBeGreaterThan(0);
	});
});

describe("updating", () => {
	const version = async (name: string) =>
		(await door.ask("GET", `/services/${name}`)).body.Version.Index;
	const templateVersion = () => {
		const [service] = [...door.cluster().facts.services.values()];
		return service?.templateVersion;
	};

	test("an old version is out of sequence, and changes nothing", async () => {
		door = await openDoor();
		await door.ask("POST", "/services/create", web());
		await door.ask("POST", "/services/web/update?version=1", web({ Labels: { a: "1" } }));
		const stale = await door.ask(
			"POST",
			"/services/web/update?version=1",
			web({ Labels: { a: "2" } }),
		);
		expect([stale.status, stale.body.message]).toEqual([
			500,
			"rpc error: code = Unknown desc = update out of sequence",
		]);
		expect((await door.ask("GET", "/services/web")).body.Spec.Labels).toEqual({ a: "1" });
	});

	test("only the user's changes raise the version: what tasks do does not", async () => {
		door = await openDoor({ nodes: ["h1"] });
		await door.ask("POST", "/services/create", web());
		const before = await version("web");
		await door.settle();
		expect(await version("web")).toBe(before);
		await door.ask("POST", `/services/web/update?version=${before}`, web());
		await door.settle();
		expect(await version("web")).toBe(before + 1);
	});

	test.each<[string, object, boolean]>([
		["nothing", web(), false],
		["the number of replicas", web({ Mode: { Replicated: { Replicas: 5 } } }), false],
		["a label of the service", web({ Labels: { a: "b" } }), false],
		["the update's policy", web({ UpdateConfig: { Parallelism: 3 } }), false],
		[
			"keys in another order and case",
			{
				taskTemplate: { containerSpec: { image: "nginx:1.22" } },
				name: "web",
				mode: { replicated: { replicas: 2 } },
			},
			false,
		],
		[
			"a default that is spelled out",
			web({}, { RestartPolicy: { Condition: "any", Delay: 5e9 } }, { StopGracePeriod: 10e9 }),
			false,
		],
		["the image", web({}, {}, { Image: "nginx:2" }), true],
		["an environment variable", web({}, {}, { Env: ["A=1"] }), true],
		["a label of the container", web({}, {}, { Labels: { a: "b" } }), true],
		["force", web({}, { ForceUpdate: 1 }), true],
		["a first published port", web(published(8091)), true],
		["a port of the host", web(published(8091, { PublishMode: "host" })), true],
	])("%s: tasks are replaced: %p", async (_name, body, dirty) => {
		door = await openDoor();
		await door.ask("POST", "/services/create", web());
		const { status } = await door.ask("POST", "/services/web/update?version=1", body);
		expect([status, templateVersion()]).toEqual([200, dirty ? 2 : 1]);
	});

	test("another published port replaces no task, and a port once chosen stays", async () => {
		door = await openDoor({ nodes: ["h1"] });
		await door.ask("POST", "/services/create", web(published(0)));
		const port = async () =>
			(await door.ask("GET", "/services/web")).body.Endpoint.Ports[0].PublishedPort;
		const chosen = await port();
		expect(chosen).toBeGreaterThanOrEqual(30000);
		await door.ask(
			"POST",
			"/services/web/update?version=1",
			web({ ...published(0), Labels: { a: "b" } }),
		);
		expect([await port(), templateVersion()]).toEqual([chosen, 1]);
		await door.ask("POST", "/services/web/update?version=2", web(published(8099)));
		expect([await port(), templateVersion()]).toEqual([8099, 1]);
	});

	test("rolling back changes places with the spec before", async () => {
		door = await openDoor({ nodes: ["h1"] });
		await door.ask("POST", "/services/create", web());
		await door.settle();
		const none = await door.ask("POST", "/services/web/update?version=1&rollback=previous", web());
		expect([none.status, none.body.message]).toEqual([
			400,
			expect.stringMatching(/does not have a previous spec$/),
		]);
		await door.ask("POST", "/services/web/update?version=1", web({}, {}, { Image: "nginx:2" }));
		await door.ask(
			"POST",
			"/services/web/update?version=2&rollback=previous",
			web({ Name: "ignored" }),
		);
		const { Spec, PreviousSpec } = (await door.ask("GET", "/services/web")).body;
		expect(Spec.TaskTemplate.ContainerSpec.Image).toBe("nginx:1.22");
		expect(PreviousSpec.TaskTemplate.ContainerSpec.Image).toBe("nginx:2");
	});

	test("a roll-back in mid-update leaves the tasks that were not updated alone", async () => {
		door = await openDoor({ nodes: ["h1"] });
		await door.ask("POST", "/services/create", web());
		await door.ask("POST", "/services/web/update?version=1", web({}, {}, { Image: "nginx:2" }));
		await door.ask("POST", "/services/web/update?version=2&rollback=previous", web());
		expect(templateVersion()).toBe(1);
	});

	test.each<[string, object, string]>([
		["a rename", web({ Name: "other" }), "renaming services is not supported"],
		["another mode", web({ Mode: { Global: {} } }), "service mode change is not allowed"],
	])("%s is refused", async (_name, body, message) => {
		door = await openDoor();
		await door.ask("POST", "/services/create", web());
		const answer = await door.ask("POST", "/services/web/update?version=1", body);
		expect([answer.status, answer.body.message]).toEqual([
			501,
			`rpc error: code = Unimplemented desc = ${message}`,
		]);
	});

	test("two who take one name at once: one gets it", async () => {
		door = await openDoor();
		const answers = await Promise.all(
			Array.from({ length: 8 }, () => door.ask("POST", "/services/create", web())),
		);
		expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(409)]);
	});
});

describe("removing a service", () => {
	test("it is gone at once, its name is free, its tasks wind down", async () => {
		door = await openDoor({ nodes: ["h1", "h2"] });
		const { body } = await door.ask("POST", "/services/create", web());
		await door.settle();
		expect((await door.ask("DELETE", "/services/web")).status).toBe(200);
		expect((await door.ask("GET", "/services/web")).status).toBe(404);
		expect((await door.ask("DELETE", "/services/web")).status).toBe(404);
		expect((await door.ask("POST", "/services/create", web())).status).toBe(201);
		await door.settle();
		expect(door.cluster().facts.services.has(body.ID as ServiceId)).toBeFalse();
	});
});

describe("what is shown of a service", () => {
	test("its address, its backends with their nodes, and its tasks' addresses", async () => {
		door = await openDoor({ nodes: ["h1", "h2"] });
		await door.ask(
			"POST",
			"/networks/create",
			overlay("net", { IPAM: { Config: [{ Subnet: "10.5.0.0/24" }] } }),
		);
		await door.ask(
			"POST",
			"/services/create",
			web(published(8091), { Networks: [{ Target: "net" }] }),
		);
		await door.settle();
		const { Endpoint } = (await door.ask("GET", "/services/web")).body;
		expect(Endpoint.VirtualIPs).toEqual([
			{ NetworkID: expect.any(String), Addr: expect.stringMatching(/^10\.5\.0\.\d+\/24$/) },
		]);
		expect(Endpoint.Backends.map((each: { Node: string }) => each.Node).sort()).toEqual([
			"h1",
			"h2",
		]);
		expect(Endpoint.Backends[0]).toEqual({
			Address: expect.stringMatching(/^10\.5\.0\.\d+\/24$/),
			NetworkID: Endpoint.VirtualIPs[0].NetworkID,
			Task: expect.any(String),
			Slot: 1,
			NodeID: expect.any(String),
			Node: expect.any(String),
			State: "running",
			Health: "none",
		});
		const { Labels } = (await door.ask("GET", "/services/web?insertDefaults=true")).body.Spec;
		expect(Labels["skein.backend.1"]).toMatch(/^10\.5\.0\.\d+\/24 on h[12], running$/);
		const tasks = (await door.ask("GET", `/tasks?${filters({ service: ["web"] })}`)).body;
		for (const task of tasks) {
			const names = task.NetworksAttachments.map(
				(each: { Network: { Spec: { Name: string } } }) => each.Network.Spec.Name,
			);
			expect(names).toEqual(["ingress", "net"]);
		}
	});

	test("backends that a client sends back as labels do not stay", async () => {
		door = await openDoor();
		await door.ask(
			"POST",
			"/services/create",
			web({ Labels: { "skein.backend.1": "x", own: "y" } }),
		);
		expect((await door.ask("GET", "/services/web")).body.Spec.Labels).toEqual({ own: "y" });
	});
});

describe("networks", () => {
	test.each<[string, object, number, string]>([
		["no name", { Driver: "overlay" }, 400, "name must be provided"],
		["no driver", { Name: "n" }, 400, "driver name: if driver is specified name is required"],
		["a bridge", { Name: "n", Driver: "bridge" }, 400, 'use "docker network create -d overlay n"'],
		["of one machine", overlay("n", { Scope: "local" }), 400, "overlays are of scope swarm"],
		["IPv6", overlay("n", { EnableIPv6: true }), 400, "IPv6 is not supported"],
		[
			"an IPv6 subnet",
			overlay("n", { IPAM: { Config: [{ Subnet: "fd00::/64" }] } }),
			400,
			"IPv6 subnets are not supported",
		],
		[
			"two subnets",
			overlay("n", { IPAM: { Config: [{ Subnet: "10.1.0.0/24" }, { Subnet: "10.2.0.0/24" }] } }),
			400,
			"one subnet",
		],
		[
			"no subnet at all",
			overlay("n", { IPAM: { Config: [{ Subnet: "10.1.0.0" }] } }),
			400,
			"invalid CIDR",
		],
		[
			"host bits",
			overlay("n", { IPAM: { Config: [{ Subnet: "10.1.0.5/24" }] } }),
			400,
			"it should be 10.1.0.0/24",
		],
		[
			"too small a subnet",
			overlay("n", { IPAM: { Config: [{ Subnet: "10.1.0.0/31" }] } }),
			400,
			"/8 to /29",
		],
		[
			"an option of bridges",
			overlay("n", { Options: { "com.docker.network.bridge.enable_icc": "false" } }),
			400,
			"enable_icc",
		],
		["a second routing mesh", overlay("n", { Ingress: true }), 400, "leave out --ingress"],
		["a taken name", overlay("taken"), 409, "network with name taken already exists"],
		[
			"a subnet of another network",
			overlay("n", { IPAM: { Config: [{ Subnet: "10.9.0.128/25" }] } }),
			400,
			"taken",
		],
		[
			"a subnet that a node has a route to",
			overlay("n", { IPAM: { Config: [{ Subnet: "192.168.0.0/16" }] } }),
			400,
			"h1",
		],
	])("%s is refused", async (_name, body, status, message) => {
		door = await openDoor({ nodes: ["h1"] });
		await door.ask(
			"POST",
			"/networks/create",
			overlay("taken", { IPAM: { Config: [{ Subnet: "10.9.0.0/24" }] } }),
		);
		const answer = await door.ask("POST", "/networks/create", body);
		expect(answer.status).toBe(status);
		expect(answer.body.message).toContain(message);
	});

	test("one that is used can not be removed", async () => {
		door = await openDoor({ nodes: ["h1"] });
		const { body: net } = await door.ask("POST", "/networks/create", overlay("net"));
		const { body: service } = await door.ask(
			"POST",
			"/services/create",
			web({}, { Networks: [{ Target: "net" }] }),
		);
		const used = await door.ask("DELETE", "/networks/net");
		expect([used.status, used.body.message]).toEqual([
			400,
			`rpc error: code = FailedPrecondition desc = network ${net.Id} is in use by service ${service.ID}`,
		]);
		await door.settle();
		await door.ask("DELETE", "/services/web");
		await door.settle();
		expect((await door.ask("DELETE", "/networks/net")).status).toBe(204);
		expect((await door.ask("GET", "/networks/net")).status).toBe(404);
		expect((await door.ask("DELETE", "/networks/ingress")).status).toBe(400);
	});

	test("a container of docker run keeps its network", async () => {
		door = await openDoor();
		const node = await door.agents.join("h1");
		const { body: net } = await door.ask(
			"POST",
			"/networks/create",
			overlay("net", { Attachable: true }),
		);
		const attached = {
			containerId: "c".repeat(64),
			name: "shell",
			aliases: [],
			network: net.Id,
			address: "10.0.1.9",
			mac: "02:42:0a:00:01:09",
		};
		await door.cluster().report({ node: node.id, attached: [attached] });
		const used = await door.ask("DELETE", "/networks/net");
		expect(used.body.message).toContain("in use by container shell on node h1");
		expect(Object.values((await door.ask("GET", "/networks/net")).body.Containers)).toEqual([
			expect.objectContaining({ Name: "shell", MacAddress: "02:42:0a:00:01:09" }),
		]);
	});

	test("by name or id in a service, kept as ids", async () => {
		door = await openDoor();
		const { body: net } = await door.ask("POST", "/networks/create", overlay("net"));
		await door.ask("POST", "/services/create", { ...web(), Networks: [{ Target: "net" }] });
		const { Spec } = (await door.ask("GET", "/services/web")).body;
		expect(Spec.TaskTemplate.Networks).toEqual([{ Target: net.Id }]);
		expect(Spec.Networks).toBeUndefined();
	});

	test("pruning takes none away", async () => {
		door = await openDoor();
		expect((await door.ask("POST", "/networks/prune")).status).toBe(200);
		await door.ask("POST", "/networks/create", overlay("idle"));
		const { status, body } = await door.ask("POST", "/networks/prune");
		expect(status).toBe(403);
		expect(body.message).toContain("docker network rm idle");
	});
});

describe("nodes", () => {
	test("are machines; the control plane answers by its id, and stands in no list", async () => {
		door = await openDoor({ nodes: ["h1", "h2"] });
		const { body: info } = await door.ask("GET", "/info");
		expect([info.Swarm.Nodes, info.Swarm.Managers, info.NCPU]).toEqual([2, 1, 4]);
		const list = (await door.ask("GET", "/nodes")).body;
		expect(
			list.map((node: { Description: { Hostname: string } }) => node.Description.Hostname),
		).toEqual(["h1", "h2"]);
		const self = (await door.ask("GET", `/nodes/${info.Swarm.NodeID}`)).body;
		expect(self.ManagerStatus.Addr).toContain("curl -fsSL http://192.0.2.1:8787/install.sh");
		expect((await door.ask("DELETE", `/nodes/${info.Swarm.NodeID}?force=1`)).status).toBe(403);
	});

	test("one that is up is removed only by force", async () => {
		door = await openDoor({ nodes: ["h1"] });
		const kept = await door.ask("DELETE", "/nodes/h1");
		expect(kept.body.message).toContain("is not down and can't be removed");
		expect((await door.ask("DELETE", "/nodes/h1?force=1")).status).toBe(200);
		expect((await door.ask("GET", "/nodes")).body).toEqual([]);
	});

	test("availability, role and labels", async () => {
		door = await openDoor({ nodes: ["h1"] });
		const spec = { Role: "manager", Availability: "drain", Labels: { rack: "2" } };
		const version = (await door.ask("GET", "/nodes/h1")).body.Version.Index;
		expect((await door.ask("POST", `/nodes/h1/update?version=${version}`, spec)).status).toBe(200);
		expect((await door.ask("GET", "/nodes/h1")).body.Spec).toEqual(spec);
		const bad = await door.ask("POST", `/nodes/h1/update?version=${version + 1}`, {
			...spec,
			Availability: "gone",
		});
		expect([bad.status, bad.body.message]).toEqual([400, 'invalid Availability: "gone"']);
	});
});

describe("the cluster", () => {
	test("is made on the socket and nowhere else", async () => {
		door = await openDoor({ init: false, via: "tcp" });
		expect((await door.ask("POST", "/swarm/init", {})).status).toBe(403);
		door.close();
		door = await openDoor({ init: false });
		const { status, body } = await door.ask("POST", "/swarm/init", {
			DefaultAddrPool: ["10.20.0.0/16"],
			SubnetSize: 25,
		});
		expect([status, body]).toEqual([200, expect.stringMatching(/^[0-9a-z]{25}$/)]);
		const { cluster } = door.cluster().facts;
		expect([cluster.addressPools, cluster.subnetPrefix]).toEqual([["10.20.0.0/16"], 25]);
		const again = await door.ask("POST", "/swarm/init", {});
		expect(again.status).toBe(503);
		expect(again.body.message).toContain("This node is already part of a swarm");
		expect(again.body.message).toContain("install.sh");
	});

	test("is erased on the socket and nowhere else, and by force", async () => {
		door = await openDoor({ via: "tcp" });
		expect((await door.ask("POST", "/swarm/leave")).status).toBe(503);
		expect((await door.ask("POST", "/swarm/leave?force=1")).status).toBe(403);
		door.close();
		door = await openDoor();
		expect((await door.ask("POST", "/swarm/leave?force=1")).status).toBe(200);
		expect((await door.ask("GET", "/services")).status).toBe(503);
	});

	test("a rotated token is another, and the other role's stays", async () => {
		door = await openDoor();
		const tokens = async () => (await door.ask("GET", "/swarm")).body;
		const before = await tokens();
		expect(before.JoinTokens.Worker).toMatch(/^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
		const query = `version=${before.Version.Index}&rotateWorkerToken=true&rotateManagerToken=false`;
		expect((await door.ask("POST", `/swarm/update?${query}`, before.Spec)).status).toBe(200);
		const after = await tokens();
		expect(after.JoinTokens.Worker).not.toBe(before.JoinTokens.Worker);
		expect(after.JoinTokens.Manager).toBe(before.JoinTokens.Manager);
		expect((await door.ask("POST", `/swarm/update?${query}`, before.Spec)).status).toBe(500);
	});

	test("machines join with a line of their own", async () => {
		door = await openDoor({ init: false });
		const { status, body } = await door.ask("POST", "/swarm/join", {});
		expect(status).toBe(403);
		expect(body.message).toContain(
			"curl -fsSL http://192.0.2.1:8787/install.sh | sh -s -- --token TOKEN",
		);
	});
});

describe("events", () => {
	test("tell what people did, in order, and end when asked to", async () => {
		door = await openDoor({ nodes: ["h1"] });
		await door.ask("POST", "/networks/create", overlay("net"));
		await door.ask("POST", "/services/create", web());
		await door.ask(
			"POST",
			"/services/web/update?version=1",
			web({ Mode: { Replicated: { Replicas: 3 } } }),
		);
		await door.ask("DELETE", "/services/web");
		const untilS = (Date.now() + 1) / 1000;
		const { body } = await door.ask("GET", `/events?since=1&until=${untilS}`);
		const told = String(body)
			.trim()
			.split("\n")
			.map((line) => JSON.parse(line));
		expect(told.map((each) => `${each.Type} ${each.Action} ${each.Actor.Attributes.name}`)).toEqual(
			["network create net", "service create web", "service update web", "service remove web"],
		);
		expect(told[2].Actor.Attributes).toEqual({
			name: "web",
			"replicas.old": "2",
			"replicas.new": "3",
		});
		const only = await door.ask(
			"GET",
			`/events?since=1&until=${untilS}&${filters({ type: ["network"] })}`,
		);
		expect(String(only.body).trim().split("\n").length).toBe(1);
	});

	test("come as they happen, and the reader may go", async () => {
		door = await openDoor();
		const gone = new AbortController();
		const response = await door.app.request("/events", { signal: gone.signal });
		const reader = response.body?.getReader();
		const read = async () => new TextDecoder().decode((await reader?.read())?.value);
		expect(await read()).toBe("\n");
		await door.ask("POST", "/services/create", web());
		expect(JSON.parse(await read()).Action).toBe("create");
		gone.abort();
		await reader?.cancel();
	});
});

describe("logs", () => {
	const line = (fd: number, text: string) => [
		fd,
		0,
		0,
		0,
		0,
		0,
		0,
		text.length,
		...Buffer.from(text),
	];
	const frames = (bytes: Uint8Array) => {
		const found: string[] = [];
		for (let at = 0; at < bytes.length; ) {
			const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(4);
			found.push(`${bytes[at]} ${Buffer.from(bytes.subarray(at + 8, at + 8 + length))}`);
			at += 8 + length;
		}
		return found;
	};
	const askNode: AskNode = async (node, { asked }) => {
		if (node === gone) throw new Error("the node did not answer within 10 s");
		if (asked.kind !== "logs") throw new Error(`nobody asks for ${asked.kind} here`);
		const last = asked.tail === "1";
		return answering(last ? line(1, "last\n") : [...line(1, "one\n"), ...line(2, "two\n")]);
	};
	let gone = "";
	const read = async (query: string, path = "/services/web/logs") => {
		const response = await door.app.request(`${path}?${query}`);
		return [
			response.headers.get("Content-Type"),
			new Uint8Array(await response.arrayBuffer()),
		] as const;
	};

	test("of all tasks, each line said whose it is, and a node that is gone costs only its own", async () => {
		door = await openDoor({ nodes: ["h1", "h2"], askNode });
		await door.ask("POST", "/services/create", web());
		await door.settle();
		const [one, two] = [...door.cluster().facts.tasks.values()];
		const whose = (task: typeof one) =>
			`com.docker.swarm.node.id=${task?.node},com.docker.swarm.service.id=${task?.service},com.docker.swarm.task.id=${task?.id}`;
		const [type, all] = await read("stdout=1&stderr=1&details=1");
		expect(type).toBe("application/vnd.docker.multiplexed-stream");
		expect(frames(all).sort()).toEqual(
			[one, two].flatMap((task) => [`1 ${whose(task)} one\n`, `2 ${whose(task)} two\n`]).sort(),
		);
		gone = two?.node ?? "";
		expect(frames((await read("stdout=1&tail=1"))[1]).sort()).toEqual([
			"1 last\n",
			expect.stringMatching(
				/^2 \(no log from node h[12]: the node did not answer within 10 s\)\n$/,
			),
		]);
		expect(frames((await read("stdout=1&tail=1", `/tasks/${one?.id}/logs`))[1])).toEqual([
			"1 last\n",
		]);
	});

	test("of a terminal come as they are", async () => {
		door = await openDoor({
			nodes: ["h1"],
			askNode: async () => answering([...Buffer.from("raw bytes")]),
		});
		await door.ask("POST", "/services/create", web({ Mode: { Global: {} } }, {}, { TTY: true }));
		await door.settle();
		const [type, all] = await read("stdout=1");
		expect([type, new TextDecoder().decode(all)]).toEqual([
			"application/vnd.docker.raw-stream",
			"raw bytes",
		]);
	});

	test("need a stream to be chosen", async () => {
		door = await openDoor();
		await door.ask("POST", "/services/create", web());
		const { status, body } = await door.ask("GET", "/services/web/logs");
		expect([status, body.message]).toEqual([
			500,
			"Bad parameters: you must choose at least one stream",
		]);
	});
});

describe("a spec comes back as it was sent", () => {
	test("with fields that we do not act on, and a warning that names them", async () => {
		door = await openDoor();
		const odd = web(
			{},
			{},
			{
				Isolation: "process",
				Privileges: { CredentialSpec: { Config: "x" }, NoNewPrivileges: true },
				Healthcheck: { Test: ["CMD", "x"], StartInterval: 1e9 },
				FutureField: { Deep: [1, null, { x: "y" }] },
			},
		);
		const { body } = await door.ask("POST", "/services/create", odd);
		expect(body.Warnings).toEqual([
			expect.stringContaining("ContainerSpec.Isolation"),
			expect.stringContaining("Privileges.CredentialSpec"),
			expect.stringContaining("Healthcheck.StartInterval"),
			expect.stringContaining("TaskTemplate.ContainerSpec.FutureField"),
		]);
		const { Spec } = (await door.ask("GET", "/services/web")).body;
		expect(Spec.TaskTemplate.ContainerSpec).toEqual(odd.TaskTemplate.ContainerSpec);
		// Sent back whole, as every client does, it means the same.
		await door.ask("POST", "/services/web/update?version=1", Spec);
		expect((await door.ask("GET", "/services/web")).body.Spec).toEqual(Spec);
	});
});
