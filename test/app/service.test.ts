// A service's whole life through both doors, in every place the control plane runs: created by a user, run by agents,
// moved when a node falls silent, scaled, removed without a trace.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { AssignmentReply } from "../../model/assignment.ts";
import { type Runtime, runtimes } from "../runtimes.ts";
import { describeMachine, joinAgent, obey, type TestAgent } from "./agent.ts";

interface TaskJson {
	readonly ID: string;
	readonly Slot: number;
	readonly NodeID: string;
	readonly DesiredState: string;
	readonly Status: { readonly State: string };
}

for (const { name, there, start } of runtimes) {
	describe.skipIf(!there)(name, () => {
		let at: Runtime;
		const agents: { readonly agent: TestAgent; readonly off: AbortController }[] = [];
		beforeAll(async () => {
			at = await start();
			const { JoinTokens } = await json<{ JoinTokens: { Worker: string } }>("/swarm");
			for (const n of [1, 2, 3]) {
				const machine = describeMachine(n, { addresses: [`192.168.77.${n}`], routes: [] });
				const agent = await joinAgent(at.url, JoinTokens.Worker, machine);
				const off = new AbortController();
				agents.push({ agent, off });
				void obey(agent, off.signal);
			}
		}, 30_000);
		afterAll(async () => {
			for (const { off } of agents) off.abort();
			await at.stop();
		}, 15_000);

		const ask = (path: string, init: RequestInit = {}) =>
			fetch(`${at.url}${path}`, {
				...init,
				headers: { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" },
			});
		const json = async <Body>(path: string) => (await (await ask(path)).json()) as Body;
		const post = async (path: string, body: unknown) => {
			const reply = await ask(path, { method: "POST", body: JSON.stringify(body) });
			if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
			return reply.json();
		};
		const tasksOf = (service: string) => {
			const filters = encodeURIComponent(JSON.stringify({ service: { [service]: true } }));
			return json<TaskJson[]>(`/tasks?filters=${filters}`);
		};
		const running = (tasks: readonly TaskJson[]) =>
			tasks.filter((task) => task.Status.State === "running" && task.DesiredState === "running");
		/** Until it is so. Says what it was when it never is. */
		const until = async <Value>(look: () => Promise<Value>, isSo: (value: Value) => boolean) => {
			for (let tries = 0; ; tries++) {
				const value = await look();
				if (isSo(value)) return value;
				if (tries === 400) throw new Error(`never so: ${JSON.stringify(value)}`);
				await Bun.sleep(50);
			}
		};
		const backendsAt = (reply: AssignmentReply, network: string) =>
			reply.assignment?.networks
				.find((each) => each.name === network)
				?.endpoints.find((each) => each.name === "web")?.backends ?? [];

		test("runs, serves everywhere, survives a silent node, shrinks and goes", async () => {
			await post("/networks/create", { Name: "mynet", Driver: "overlay", Attachable: true });
			const service = {
				Name: "web",
				Mode: { Replicated: { Replicas: 6 } },
				TaskTemplate: {
					ContainerSpec: { Image: `nginx@sha256:${"a".repeat(64)}` },
					Networks: [{ Target: "mynet" }],
					RestartPolicy: { Condition: "any", Delay: 1 },
				},
			};
			await post("/services/create", service);
			const first = await until(
				() => tasksOf("web"),
				(tasks) => running(tasks).length === 6,
			);
			expect(new Set(running(first).map(({ NodeID }) => NodeID)).size).toBe(3);

			// Every node knows all six as backends, once all have acknowledged.
			const [{ agent: one }, { agent: two, off: twoOff }] = [...agents] as [
				(typeof agents)[number],
				(typeof agents)[number],
			];
			const served = await until(
				() => one.poll(),
				(reply) => backendsAt(reply, "mynet").length === 6,
			);

			const listed = await json<{ Names: string[] }[]>("/containers/json?all=1");
			expect(listed.length).toBe(6);
			const log = await (await ask("/services/web/logs?stdout=1&tail=all")).text();
			expect(log.match(/hello from /g)).toHaveLength(6);
			const oneLog = await ask("/containers/web.1/logs?stdout=1");
			expect(await oneLog.text()).toContain("hello from ");

			twoOff.abort();
			const moved = await until(
				() => tasksOf("web"),
				(tasks) =>
					running(tasks).length === 6 && running(tasks).every(({ NodeID }) => NodeID !== two.node),
			);
			expect(new Set(running(moved).map(({ Slot }) => Slot)).size).toBe(6);
			// The same slots at the same addresses, from their new places.
			const again = await until(
				() => one.poll(),
				(reply) => backendsAt(reply, "mynet").length === 6,
			);
			expect([...backendsAt(again, "mynet")].sort()).toEqual(
				[...backendsAt(served, "mynet")].sort(),
			);

			const { Version, Spec } = await json<{ Version: { Index: number }; Spec: object }>(
				"/services/web",
			);
			await post(`/services/web/update?version=${Version.Index}`, {
				...Spec,
				Mode: { Replicated: { Replicas: 2 } },
			});
			await until(
				() => tasksOf("web"),
				(tasks) => running(tasks).length === 2,
			);

			expect((await ask("/services/web", { method: "DELETE" })).status).toBe(200);
			await until(
				() => one.poll(),
				({ assignment }) =>
					assignment?.tasks.length === 0 &&
					backendsAt({ ...again, assignment }, "mynet").length === 0,
			);
			expect(await json<unknown[]>("/services")).toEqual([]);
		}, 90_000);
	});
}
