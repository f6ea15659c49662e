// The life of a service as dockerode leads it: another client, another spelling of filters, versions and errors.

import { afterAll, afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import type { AskNode } from "../../control-plane/cluster.ts";
import { type Listener, listen } from "../../control-plane/connection/listen.ts";
import { answering, type Door, openDoor } from "./door.ts";

const folder = mkdtempSync(join(tmpdir(), "skein-dockerode-"));
let door: Door;
let server: Listener;

afterEach(async () => {
	await server.stop();
	door.close();
	expect(door.faults).toEqual([]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a service from its creation to its end", async () => {
	door = await openDoor({ nodes: ["h1", "h2"] });
	const socketPath = join(folder, "docker.sock");
	server = await listen({ path: socketPath }, (request) => door.app.fetch(request));
	const docker = new Docker({ socketPath });

	expect((await docker.version()).ApiVersion).toBe("1.51");
	expect((await docker.info()).Swarm.Nodes).toBe(2);
	expect((await docker.listNodes()).length).toBe(2);

	const events = await docker.getEvents({ filters: { type: ["service"] } });
	const told: string[] = [];
	events.on("data", (bytes) => {
		told.push(
			...String(bytes)
				.split("\n")
				.filter(Boolean)
				.map((line) => JSON.parse(line).Action),
		);
	});

	const network = await docker.createNetwork({ Name: "net", Driver: "overlay" });
	const spec = {
		Name: "web",
		TaskTemplate: {
			ContainerSpec: { Image: "nginx:1.22" },
			Networks: [{ Target: "net" }],
		},
		Mode: { Replicated: { Replicas: 2 } },
		EndpointSpec: { Ports: [{ Protocol: "tcp", TargetPort: 80, PublishedPort: 8091 }] },
	};
	const service = await docker.createService(spec);
	await door.settle();

	const shown = await service.inspect();
	expect(shown.Spec.TaskTemplate.Networks).toEqual([{ Target: network.id }]);
	const running = await docker.listTasks({
		filters: { service: ["web"], "desired-state": ["running"] },
	});
	expect(running.map((task) => task.Status.State)).toEqual(["running", "running"]);

	await service.update({
		...shown.Spec,
		version: shown.Version.Index,
		Mode: { Replicated: { Replicas: 3 } },
	});
	await door.settle();
	const [listed] = await docker.listServices({ filters: { name: ["web"] }, status: true });
	expect(listed.ServiceStatus).toEqual({ RunningTasks: 3, DesiredTasks: 3, CompletedTasks: 0 });

	const stale = service.update({ ...shown.Spec, version: shown.Version.Index });
	expect(stale).rejects.toThrow("update out of sequence");
	expect(docker.createService(spec)).rejects.toThrow("already exists");

	await docker.getService("web").remove();
	await door.settle();
	expect(await docker.listServices()).toEqual([]);
	await network.remove();
	expect(await docker.listNetworks({ filters: { name: ["net"] } })).toEqual([]);
	events.destroy();
	expect(told).toEqual(["create", "update", "remove"]);
}, 30_000);

test("a container of a task: listed, entered, left", async () => {
	/** An engine whose only program says back what it hears. */
	const askNode: AskNode = async (_node, { asked, containerId }, { stdin }) => {
		switch (asked.kind) {
			case "inspect":
				return answering({ Id: containerId, State: { Running: true }, Config: { Tty: true } });
			case "exec-create":
				return answering({ Id: "e".repeat(64) }, { status: 201 });
			case "exec-start":
				return answering([], { status: 101, body: stdin ?? new Blob([]).stream() });
			case "exec-inspect":
				return answering({ ID: asked.exec, ExitCode: 5, Running: false });
			default:
				throw new Error(`nobody asks for ${asked.kind} here`);
		}
	};
	door = await openDoor({ nodes: ["h1"], askNode });
	const socketPath = join(folder, "exec.sock");
	server = await listen({ path: socketPath }, (request, stdin) =>
		door.app.fetch(request, { stdin }),
	);
	const docker = new Docker({ socketPath });
	await docker.createService({
		Name: "web",
		TaskTemplate: { ContainerSpec: { Image: "nginx:1.22" } },
	});
	await door.settle();

	const [listed] = await docker.listContainers({ filters: { name: ["web"] } });
	expect(listed.Names[0]).toMatch(/^\/web\.1\./);
	const container = docker.getContainer(listed.Id);
	expect((await container.inspect()).Id).toBe(listed.Id);
	const exec = await container.exec({
		Cmd: ["cat"],
		AttachStdin: true,
		AttachStdout: true,
		Tty: true,
	});
	const stream = await exec.start({ hijack: true, stdin: true, Tty: true });
	const heard: Buffer[] = [];
	stream.on("data", (bytes: Buffer) => heard.push(bytes));
	const ended = new Promise<void>((resolve) => stream.on("end", () => resolve()));
	stream.write("one ");
	stream.end("two");
	await ended;
	expect(Buffer.concat(heard).toString()).toBe("one two");
	expect((await exec.inspect()).ExitCode).toBe(5);
}, 30_000);
