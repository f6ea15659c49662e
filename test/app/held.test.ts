// Thousands of agents wait on one control plane: their polls are held, let go when they hang up, and answered when
// there is news.

import { expect, test } from "bun:test";
import { startBun } from "../runtimes.ts";
import { describeMachine, joinAgent } from "./agent.ts";

const agents = 2_000;
/** Of a machine's own queue for connections that nobody took up yet. */
const atOnce = 500;

test("thousands of polls are held, and let go", async () => {
	// Held for a third of it: longer than this takes.
	const at = await startBun({ env: { SKEIN_NODE_TIMEOUT_MS: "180000" } });
	try {
		const ask = async (path: string, init: RequestInit = {}) => {
			const headers = { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" };
			return fetch(`${at.url}${path}`, { headers, ...init });
		};
		const held = async () => {
			const text = await (await ask("/metrics")).text();
			return Number(/^skein_held_polls (\d+)/m.exec(text)?.[1]);
		};
		const swarm = (await (await ask("/swarm")).json()) as { JoinTokens: { Worker: string } };
		const agent = await joinAgent(at.url, swarm.JoinTokens.Worker, describeMachine(1));
		const { revision, hash } = await agent.poll();
		const { hostname, port } = new URL(at.url);
		const request = [
			`GET /agent/assignment?revision=${revision}&hash=${hash} HTTP/1.1`,
			`Host: ${hostname}`,
			`Authorization: Bearer ${agent.credential}`,
			"\r\n",
		].join("\r\n");
		const answers: string[] = [];
		const socket = {
			open: (line: Bun.Socket) => void line.write(request),
			data(_line: Bun.Socket, bytes: Buffer) {
				const head = bytes.toString("latin1", 0, 12);
				if (head.startsWith("HTTP/")) answers.push(head);
			},
		};
		const lines: Bun.Socket[] = [];
		while (lines.length < agents) {
			const opening = Array.from({ length: atOnce }, () =>
				Bun.connect({ hostname, port: Number(port), socket }),
			);
			lines.push(...(await Promise.all(opening)));
		}
		while ((await held()) < agents) await Bun.sleep(50);
		expect(answers).toEqual([]);

		for (const line of lines.slice(agents / 2)) line.end();
		while ((await held()) > agents / 2) await Bun.sleep(50);

		const body = JSON.stringify({ Name: "news", Driver: "overlay", Attachable: true });
		expect((await ask("/networks/create", { method: "POST", body })).status).toBe(201);
		while ((await held()) > 0) await Bun.sleep(50);
		while (answers.length < agents / 2) await Bun.sleep(50);
		expect(new Set(answers)).toEqual(new Set(["HTTP/1.1 200"]));
		at.process.kill("SIGTERM");
		expect(await at.process.exited).toBe(0);
	} finally {
		await at.stop();
	}
}, 180_000);
