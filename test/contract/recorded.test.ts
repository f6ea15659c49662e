// Recordings that are no conversations: streams of logs, whose lines are said again in our tasks' names, and what a
// newer CLI sends, all of which has to be taken.

import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { AskNode } from "../../control-plane/cluster.ts";
import type { Task } from "../../model/task.ts";
import { answering, type Door, openDoor } from "./door.ts";
import { type Exchange, recorded } from "./replay.ts";

let door: Door;
afterEach(() => door.close());

interface Frame {
	readonly fd: number;
	readonly text: string;
}

function framesOf(bytes: Uint8Array): Frame[] {
	const found: Frame[] = [];
	for (let at = 0; at < bytes.length; ) {
		const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(4);
		const text = new TextDecoder().decode(bytes.subarray(at + 8, at + 8 + length));
		found.push({ fd: bytes[at] ?? 0, text });
		at += 8 + length;
	}
	return found;
}

function bytesOf({ fd, text }: Frame): number[] {
	const payload = new TextEncoder().encode(text);
	return [
		fd,
		0,
		0,
		0,
		...new Uint8Array(new Uint32Array([payload.length]).buffer).reverse(),
		...payload,
	];
}

/** `timestamp? node,service,task line`, as dockerd writes it with details. */
const detailed =
	/^(?<time>\S+Z )?com\.docker\.swarm\.node\.id=\w+,com\.docker\.swarm\.service\.id=\w+,com\.docker\.swarm\.task\.id=(?<task>\w+) (?<line>.*\n)$/s;

const streams = (await recorded("logs")).flatMap(({ label, x }) =>
	x.flatMap((exchange) => {
		const body = exchange.r as { b64?: string } | undefined;
		const isLog = exchange.u.includes("/services/") && exchange.u.includes("/logs?");
		return isLog && body?.b64 ? [[label, exchange, Buffer.from(body.b64, "base64")] as const] : [];
	}),
);

describe("a recorded log, given by the nodes' engines, comes out byte for byte", () => {
	test.each(streams)("%s", async (_label, { u }, bytes) => {
		const theirs = framesOf(new Uint8Array(bytes));
		const parsed = theirs.map(({ fd, text }) => {
			const { time = "", task = "", line = "" } = detailed.exec(text)?.groups ?? {};
			return { fd, task, said: `${time}${line}` };
		});
		const tasks = [...new Set(parsed.map(({ task }) => task))];
		const ours = new Map<string, Task>();
		const askNode: AskNode = async (_node, asked) => {
			const of = tasks.find((task) => ours.get(task)?.id === asked.task);
			const lines = parsed.filter(({ task }) => task === of);
			return answering(lines.flatMap(({ fd, said }) => bytesOf({ fd, text: said })));
		};
		door = await openDoor({ nodes: ["node1", "node2"], askNode });
		await door.ask("POST", "/services/create", {
			Name: "logged",
			TaskTemplate: { ContainerSpec: { Image: "busybox" } },
			Mode: { Replicated: { Replicas: tasks.length } },
		});
		await door.settle();
		[...door.cluster().facts.tasks.values()].forEach((task, at) => {
			const theirTask = tasks[at];
			if (theirTask) ours.set(theirTask, task);
		});
		const { search } = new URL(u, "http://dockerd");
		const response = await door.app.request(
			`/services/logged/logs${search.replace("&follow=1", "")}`,
		);
		const said = framesOf(new Uint8Array(await response.arrayBuffer()));
		const translated = parsed.map(({ fd, task, said }) => {
			const { node, service, id } = ours.get(task) as Task;
			const whose = `com.docker.swarm.node.id=${node},com.docker.swarm.service.id=${service},com.docker.swarm.task.id=${id} `;
			return { fd, text: said.replace(/^(\S+Z )?/, (time) => `${time}${whose}`) };
		});
		const sorted = (frames: readonly Frame[]) =>
			frames.map((one) => `${one.fd} ${one.text}`).sort();
		expect(said.length).toBeGreaterThan(0);
		expect(sorted(said)).toEqual(sorted(translated));
	});
});

test("what a CLI of version 28 sends at API 1.50 is taken, and each spec comes back whole", async () => {
	door = await openDoor({ nodes: ["node1", "node2"] });
	const file = Bun.file(join(import.meta.dir, "recordings/cli28-api1.50-requests.json"));
	const requests: readonly Exchange[] = await file.json();
	const created = new Map<string, string>();
	const sent = new Map<string, object>();
	for (const { m, u, q } of requests) {
		const spec = q as { Name?: string };
		const at = u
			.replace(/\/services\/\w{25}\/update/, `/services/${spec.Name}/update`)
			.replace(/version=\d+/, "version=1");
		const asked = withOurIds(q, created);
		const { status, body } = await door.ask(m, at, asked);
		if (body?.message?.includes("IPv6 is not supported")) continue;
		expect([`${m} ${u} ${JSON.stringify(body)}`, status < 300]).toEqual([expect.anything(), true]);
		if (u.includes("/services/")) sent.set(spec.Name ?? "", asked as object);
		const id = body?.Id ?? body?.ID;
		if (id && !u.includes("/services/")) created.set(spec.Name ?? "", id);
	}
	const { body: services } = await door.ask("GET", "/services");
	expect(services.length).toBe(sent.size);
	for (const { Spec: spec } of services) expect(spec).toMatchObject(sent.get(spec.Name) as object);
});

/** The recording's stub drew its ids by itself: ours stand for them. What says nothing need not come back. */
function withOurIds(body: unknown, created: ReadonlyMap<string, string>): unknown {
	const [newest] = [...created.values()].reverse();
	return JSON.parse(JSON.stringify(body), (_key, value) => {
		if (value === null || value === "") return undefined;
		const { SecretName: secret, ConfigName: config, Target: target } = value;
		if (secret) return { ...value, SecretID: created.get(secret) };
		if (config) return { ...value, ConfigID: created.get(config) };
		const isNetwork = target !== undefined && (created.has(target) || /^\w{25}$/.test(target));
		return isNetwork ? { ...value, Target: created.get(target) ?? newest } : value;
	});
}
