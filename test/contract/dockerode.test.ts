// The life of a service as dockerode leads it: another client, another spelling of filters, versions and errors.

import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { type Door, openDoor } from "./door.ts";

const folder = mkdtempSync(join(tmpdir(), "skein-dockerode-"));
let door: Door;
let server: Bun.Server<undefined>;

afterEach(async () => {
	await server.stop(true);
	door.close();
	rmSync(folder, { recursive: true, force: true });
	expect(door.faults).toEqual([]);
});

test("a service from its creation to its end", async () => {
	door = await openDoor({ nodes: ["h1", "h2"] });
	const socketPath = join(folder, "docker.sock");
	server = Bun.serve({ unix: socketPath, fetch: (request) => door.app.fetch(request) });
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
