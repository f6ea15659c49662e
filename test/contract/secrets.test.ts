// Secrets and configs through the door: what is shown and what never is, what a changed content sets in motion, what
// is refused. Every answer is held against Docker's schema on the way.

import { afterEach, describe, expect, test } from "bun:test";
import { check } from "../../control-plane/manager/checks.ts";
import { filesOf } from "../../model/material.ts";
import { type Door, openDoor } from "./door.ts";

let door: Door;
afterEach(() => {
	expect(door.faults).toEqual([]);
	expect(door.clusters.current ? check(door.cluster().facts) : []).toEqual([]);
	door.close();
});

const base64 = (text: string) => Buffer.from(text).toString("base64");
const filters = (of: unknown) => `filters=${encodeURIComponent(JSON.stringify(of))}`;

type Kind = "secret" | "config";

async function create(kind: Kind, Name: string, text: string, more: object = {}): Promise<string> {
	const { status, body } = await door.ask("POST", `/${kind}s/create`, {
		Name,
		Data: base64(text),
		...more,
	});
	expect([status, body]).toEqual([201, { ID: expect.stringMatching(/^[0-9a-z]{25}$/) }]);
	return body.ID;
}

async function rotate(kind: Kind, name: string, more: object): Promise<number> {
	const { Version, Spec } = (await door.ask("GET", `/${kind}s/${name}`)).body;
	const path = `/${kind}s/${name}/update?version=${Version.Index}`;
	return (await door.ask("POST", path, { ...Spec, ...more })).status;
}

const using = (name: string, files: object, more: object = {}) => ({
	Name: name,
	TaskTemplate: { ContainerSpec: { Image: "nginx:1.22", ...files } },
	Mode: { Replicated: { Replicas: 2 } },
	...more,
});
const secret = (id: string, name: string, file: object = {}) => ({
	SecretID: id,
	SecretName: name,
	File: { Name: name, UID: "0", GID: "0", Mode: 292, ...file },
});
const config = (id: string, name: string, file: object = {}) => ({
	ConfigID: id,
	ConfigName: name,
	File: { Name: `/${name}`, UID: "0", GID: "0", Mode: 292, ...file },
});

const service = async (name: string) => (await door.ask("GET", `/services/${name}`)).body;
const update = async (name: string, change: (spec: Record<string, unknown>) => object) => {
	const { Version, Spec } = await service(name);
	return door.ask("POST", `/services/${name}/update?version=${Version.Index}`, change(Spec));
};
const modelOf = (name: string) => {
	const found = [...door.cluster().facts.services.values()].find(({ spec }) => spec.name === name);
	if (!found) throw new Error(`no service ${name}`);
	return found;
};
const versionIn = (name: string) =>
	filesOf(modelOf(name).spec.template).map((file) => file.version);
const keptVersions = (name: string) =>
	[...door.cluster().facts.materials.values()]
		.find((each) => each.name === name)
		?.versions.map(({ number }) => number);
/** The content versions of the tasks that run. */
const running = (name: string) => {
	const { facts } = door.cluster();
	return [...facts.tasksOfService(modelOf(name).id).values()]
		.filter(({ desired, status }) => desired === "running" && status.state === "running")
		.map((task) => facts.template(task.service, task.templateVersion))
		.flatMap((version) => (version ? filesOf(version.template) : []))
		.map((file) => file.version);
};
const quick = { UpdateConfig: { Parallelism: 0, Monitor: 1, FailureAction: "continue" } };

describe("what is shown", () => {
	test("a secret never says what it is; a config does", async () => {
		door = await openDoor();
		await create("secret", "pw", "hunter2", { Labels: { env: "prod" } });
		await create("config", "conf", "a=1\n");
		const [pw] = (await door.ask("GET", "/secrets")).body;
		expect(pw.Spec).toEqual({ Name: "pw", Labels: { env: "prod" } });
		expect((await door.ask("GET", "/secrets/pw")).body).toEqual(pw);
		const { Spec } = (await door.ask("GET", "/configs/conf")).body;
		expect(Spec).toEqual({ Name: "conf", Labels: {}, Data: base64("a=1\n") });
		expect(JSON.stringify(door.cluster().facts.materials.values().toArray())).not.toContain(
			base64("hunter2"),
		);
	});

	test("bytes that are no text come back as they went in", async () => {
		door = await openDoor();
		const bytes = Buffer.from(Uint8Array.from({ length: 70_000 }, (_, index) => index % 256));
		await door.ask("POST", "/configs/create", { Name: "raw", Data: bytes.toString("base64") });
		const { Spec } = (await door.ask("GET", "/configs/raw")).body;
		expect(Buffer.from(Spec.Data, "base64").equals(bytes)).toBeTrue();
	});

	test.each<[string, object, string[]]>([
		["all", {}, ["db_pw", "db_user", "web"]],
		["a prefix of the name", { name: ["db"] }, ["db_pw", "db_user"]],
		["exact names", { names: { db: true, web: true } }, ["web"]],
		["a label", { label: ["env"] }, ["db_pw", "web"]],
		["labels, all of them", { label: ["env=prod", "tier=1"] }, ["web"]],
		["an id that there is not", { id: ["nope"] }, []],
	])("list: %s", async (_what, asked, names) => {
		door = await openDoor();
		await create("secret", "web", "x", { Labels: { env: "prod", tier: "1" } });
		await create("secret", "db_user", "x");
		await create("secret", "db_pw", "x", { Labels: { env: "test" } });
		await create("config", "db_conf", "x", { Labels: { env: "prod" } });
		const { body } = await door.ask("GET", `/secrets?${filters(asked)}`);
		expect(body.map(({ Spec }: { Spec: { Name: string } }) => Spec.Name)).toEqual(names);
	});

	test("events tell what happened, and no more", async () => {
		door = await openDoor();
		await create("config", "conf", "a=1");
		await rotate("config", "conf", { Data: base64("a=2") });
		await door.ask("DELETE", "/configs/conf");
		const now = Math.ceil(Date.now() / 1000);
		const { body } = await door.ask("GET", `/events?since=1&until=${now}`);
		const lines = String(body)
			.trim()
			.split("\n")
			.map((line) => JSON.parse(line));
		expect(lines.map(({ Type, Action, Actor }) => [Type, Action, Actor.Attributes])).toEqual([
			["config", "create", { name: "conf" }],
			["config", "update", { name: "conf" }],
			["config", "remove", { name: "conf" }],
		]);
	});
});

describe("what is refused", () => {
	const rpc = "rpc error: code = InvalidArgument desc = ";
	test.each<[string, string, object, number, string]>([
		["no name", "secret", { Data: "YQ==" }, 400, `${rpc}name must be provided`],
		[
			"a long name",
			"secret",
			{ Name: "x".repeat(65), Data: "YQ==" },
			400,
			`${rpc}invalid name, only 64`,
		],
		["a strange name", "config", { Name: "-a", Data: "YQ==" }, 400, `${rpc}invalid name, only 64`],
		[
			"no content",
			"secret",
			{ Name: "a" },
			400,
			`${rpc}secret data must be larger than 0 and less than 512000 bytes`,
		],
		[
			"too much",
			"secret",
			{ Name: "a", Data: base64("x".repeat(512_000)) },
			400,
			`${rpc}secret data must be larger than 0`,
		],
		[
			"too much of a config",
			"config",
			{ Name: "a", Data: base64("x".repeat(1_024_000)) },
			400,
			`${rpc}config data must be larger than 0 and less than 1024000 bytes`,
		],
		["no base64", "secret", { Name: "a", Data: "%%%" }, 400, "illegal base64 data at input byte 0"],
		[
			"half base64",
			"secret",
			{ Name: "a", Data: "YWFhY" },
			400,
			"illegal base64 data at input byte 4",
		],
		[
			"a driver",
			"secret",
			{ Name: "a", Driver: { Name: "vault" } },
			500,
			'rpc error: code = Unknown desc = plugin "vault" not found',
		],
		[
			"another template language",
			"config",
			{ Name: "a", Data: "YQ==", Templating: { Name: "jinja" } },
			400,
			`${rpc}Templating: unknown driver "jinja"`,
		],
		[
			"a name that is taken",
			"secret",
			{ Name: "taken", Data: "YQ==" },
			409,
			"rpc error: code = AlreadyExists desc = secret taken already exists",
		],
	])("%s", async (_what, kind, body, status, message) => {
		door = await openDoor();
		await create("secret", "taken", "x");
		const answer = await door.ask("POST", `/${kind}s/create`, body);
		expect(answer.status).toBe(status);
		expect(answer.body.message).toStartWith(message);
	});

	test("a config may have a secret's name, and is found by its own kind only", async () => {
		door = await openDoor();
		const id = await create("secret", "both", "x");
		await create("config", "both", "y");
		expect((await door.ask("GET", `/configs/${id}`)).status).toBe(404);
		expect((await door.ask("GET", "/configs/nope")).body.message).toBe("config nope not found");
	});

	test("what is in use stays, and names who uses it", async () => {
		door = await openDoor();
		const id = await create("secret", "pw", "x");
		await door.ask("POST", "/services/create", using("b", { Secrets: [secret(id, "pw")] }));
		const one = await door.ask("DELETE", "/secrets/pw");
		expect(one.status).toBe(400);
		expect(one.body.message).toEndWith("secret 'pw' is in use by the following service: b");
		await door.ask("POST", "/services/create", using("a", { Secrets: [secret(id, "pw")] }));
		const two = await door.ask("DELETE", "/secrets/pw");
		expect(two.body.message).toEndWith("secret 'pw' is in use by the following services: a, b");
		// As `stack rm` does it: the tasks wind down yet.
		for (const name of ["a", "b"]) await door.ask("DELETE", `/services/${name}`);
		expect((await door.ask("DELETE", "/secrets/pw")).status).toBe(204);
	});

	test.each<[string, object, string]>([
		[
			"two that are missing",
			{ Secrets: [secret("x", "a"), secret("y", "b")] },
			"secrets not found: a, b",
		],
		["a missing config", { Configs: [config("x", "a")] }, "config not found: a"],
		["an id that is another's", { Secrets: [secret("x", "pw")] }, "secret not found: pw"],
		[
			"no file",
			{ Secrets: [{ SecretName: "pw" }] },
			"malformed file secret reference, invalid target file provided",
		],
		["nothing", { Secrets: [{ File: { Name: "x" } }] }, "malformed secret reference"],
		[
			"an owner by name",
			{ Secrets: [secret("", "pw", { UID: "www" })] },
			'secret pw: File.UID "www" is no number: names are known in the image only',
		],
		[
			"one target for two",
			{ Secrets: [secret("", "pw", { Name: "t" }), secret("", "other", { Name: "t" })] },
			"secret references 'pw' and 'other' have a conflicting target: 't'",
		],
		[
			"a mount's target",
			{
				Secrets: [secret("", "pw", { Name: "/data" })],
				Mounts: [{ Type: "volume", Target: "/data" }],
			},
			"ContainerSpec: duplicate mount point: /data",
		],
	])("a reference to %s", async (_what, files, message) => {
		door = await openDoor();
		await create("secret", "pw", "x");
		await create("secret", "other", "x");
		const { status, body } = await door.ask("POST", "/services/create", using("web", files));
		expect([status, body.message]).toEqual([400, rpc + message]);
	});

	test("an update from an old version, another name, another size", async () => {
		door = await openDoor();
		await create("secret", "pw", "x");
		const stale = await door.ask("POST", "/secrets/pw/update?version=7", { Name: "pw" });
		expect([stale.status, stale.body.message]).toEqual([
			500,
			"rpc error: code = Unknown desc = update out of sequence",
		]);
		const renamed = await door.ask("POST", "/secrets/pw/update?version=1", { Name: "qw" });
		expect(renamed.status).toBe(400);
		expect(renamed.body.message).toContain("only updates to Labels and Data are allowed");
		expect(await rotate("secret", "pw", { Data: "" })).toBe(400);
		const unversioned = await door.ask("POST", "/secrets/pw/update", { Name: "pw" });
		expect(unversioned.body.message).toStartWith("invalid secret version ''");
	});
});

describe("a changed content", () => {
	const open = async (kind: Kind = "config") => {
		door = await openDoor({ nodes: ["h1", "h2"] });
		const id = await create(kind, "conf", "a=1", { Labels: { v: "1" } });
		const files =
			kind === "config" ? { Configs: [config(id, "conf")] } : { Secrets: [secret(id, "conf")] };
		await door.ask("POST", "/services/create", using("web", files, quick));
		await door.ask("POST", "/services/create", using("other", {}));
		await door.settle();
	};

	test.each(["secret", "config"] as const)(
		"of a %s rolls who uses it, and nobody else",
		async (kind) => {
			await open(kind);
			expect(running("web")).toEqual([1, 1]);
			const [before, other] = [await service("web"), await service("other")];
			expect(await rotate(kind, "conf", { Data: base64("a=2") })).toBe(200);
			const after = await service("web");
			expect(after.Version.Index).toBe(before.Version.Index + 1);
			expect(after.Spec).toEqual(before.Spec);
			expect(after.UpdateStatus.State).toBe("updating");
			await door.settle();
			expect(running("web")).toEqual([2, 2]);
			expect(await service("other")).toEqual(other);
			if (kind === "config") {
				expect((await door.ask("GET", "/configs/conf")).body.Spec.Data).toBe(base64("a=2"));
			}
		},
	);

	test("that is the same rolls nothing, and labels alone roll nothing", async () => {
		await open();
		const before = await service("web");
		expect(await rotate("config", "conf", { Data: base64("a=1") })).toBe(200);
		expect(await rotate("config", "conf", { Labels: { v: "2" } })).toBe(200);
		expect(await service("web")).toEqual(before);
		const { Spec, Version } = (await door.ask("GET", "/configs/conf")).body;
		expect(Spec).toEqual({ Name: "conf", Labels: { v: "2" }, Data: base64("a=1") });
		expect(Version.Index).toBe(3);
		expect(keptVersions("conf")).toEqual([1]);
	});

	test("is none where only the order of files is another", async () => {
		await open();
		const id = await create("config", "more", "b=1");
		const files = [config(id, "more"), config("", "conf")];
		const send = (Configs: object[]) =>
			update("web", (spec) => ({
				...spec,
				TaskTemplate: { ContainerSpec: { Image: "nginx:1.22", Configs } },
			}));
		await send(files);
		await door.settle();
		const { templateVersion } = modelOf("web");
		await send(files.toReversed());
		expect(modelOf("web").templateVersion).toBe(templateVersion);
	});

	test("that becomes a template is another content", async () => {
		await open();
		expect(await rotate("config", "conf", { Templating: { Name: "golang" } })).toBe(200);
		expect(versionIn("web")).toEqual([2]);
		// What a client leaves out stays: labels are changed without the content and what it is.
		const path = "/configs/conf/update?version=2";
		expect((await door.ask("POST", path, { Name: "conf", Labels: { v: "3" } })).status).toBe(200);
		expect((await door.ask("GET", "/configs/conf")).body.Spec).toEqual({
			Name: "conf",
			Labels: { v: "3" },
			Templating: { Name: "golang" },
			Data: base64("a=1"),
		});
		expect(versionIn("web")).toEqual([2]);
	});

	test("is taken back by a rollback, to the very content before", async () => {
		await open();
		await rotate("config", "conf", { Data: base64("a=2") });
		await door.settle();
		expect(keptVersions("conf")).toEqual([1, 2]);
		// As `stack deploy` goes on: every service is sent again, as it is.
		expect((await update("web", (spec) => spec)).status).toBe(200);
		await door.settle();
		const { Version } = await service("web");
		await door.ask("POST", `/services/web/update?version=${Version.Index}&rollback=previous`, {});
		await door.settle();
		expect(running("web")).toEqual([1, 1]);
		expect((await service("web")).UpdateStatus.State).toStartWith("rollback");
	});

	test("together with a changed spec, as `stack deploy` sends them, is taken back as one step", async () => {
		await open();
		await rotate("config", "conf", { Data: base64("a=2") });
		await update("web", (spec) => ({ ...spec, Labels: { deploy: "2" } }));
		await door.settle();
		expect(running("web")).toEqual([2, 2]);
		const { Version, Spec } = await service("web");
		expect(Spec.Labels).toEqual({ deploy: "2" });
		await door.ask("POST", `/services/web/update?version=${Version.Index}&rollback=previous`, {});
		await door.settle();
		expect(running("web")).toEqual([1, 1]);
		expect((await service("web")).Spec.Labels).toEqual({});
		// What has rolled stands for itself.
		await rotate("config", "conf", { Data: base64("a=3") });
		await door.settle();
		await update("web", (spec) => ({ ...spec, Labels: { deploy: "3" } }));
		expect(modelOf("web").previous?.spec.template.container.files?.[0]?.version).toBe(3);
	});

	test("is not brought back by scaling, but by --force, and we say so", async () => {
		await open();
		await rotate("config", "conf", { Data: base64("a=2") });
		await door.settle();
		const { Version } = await service("web");
		await door.ask("POST", `/services/web/update?version=${Version.Index}&rollback=previous`, {});
		await door.settle();
		const scaled = await update("web", (spec) => ({
			...spec,
			Mode: { Replicated: { Replicas: 3 } },
		}));
		await door.settle();
		expect(running("web")).toEqual([1, 1, 1]);
		expect(scaled.body.Warnings).toEqual([
			"config conf stays with the content that the service was rolled back to: docker service update --force takes the newest",
		]);
		const forced = await update("web", (spec) => ({
			...spec,
			TaskTemplate: { ...(spec["TaskTemplate"] as object), ForceUpdate: 1 },
		}));
		expect(forced.body.Warnings).toBeNull();
		expect(versionIn("web")).toEqual([2]);
	});

	test("does not run a job again: its next run has it", async () => {
		await open();
		const job = using("job", { Configs: [config("", "conf")] }, { Mode: { ReplicatedJob: {} } });
		expect((await door.ask("POST", "/services/create", job)).status).toBe(201);
		const before = modelOf("job").job;
		expect(before?.iteration).toBeNumber();
		await rotate("config", "conf", { Data: base64("a=2") });
		expect([modelOf("job").job, versionIn("job")]).toEqual([before, [2]]);
	});

	test("in the middle of a roll goes on to the newest; what nobody needs is forgotten", async () => {
		await open();
		for (const text of ["a=2", "a=3", "a=4"])
			await rotate("config", "conf", { Data: base64(text) });
		await door.settle();
		expect(running("web")).toEqual([4, 4]);
		// To be rolled back to; with the service all but the newest go.
		expect(keptVersions("conf")).toContain(1);
		expect(modelOf("web").previous?.spec.template.container.files?.[0]?.version).toBe(1);
		await door.ask("DELETE", "/services/web");
		await door.settle();
		await rotate("config", "conf", { Labels: {} });
		expect(keptVersions("conf")).toEqual([4]);
	});

	test("that was removed is nothing to roll back to", async () => {
		await open();
		await update("web", (spec) => {
			const template = spec["TaskTemplate"] as { ContainerSpec: object };
			const { Configs: _gone, ...container } = template.ContainerSpec as { Configs?: unknown };
			return { ...spec, TaskTemplate: { ...template, ContainerSpec: container } };
		});
		expect((await door.ask("DELETE", "/configs/conf")).status).toBe(204);
		const { Version } = await service("web");
		const path = `/services/web/update?version=${Version.Index}&rollback=previous`;
		const { status, body } = await door.ask("POST", path, {});
		expect([status, body.message]).toEqual([
			400,
			expect.stringContaining("does not have a previous spec"),
		]);
	});
});
