// Two tenants of one control plane: whatever the one asks for, with whichever of the other's names and ids, no byte of the
// other's comes back, and nothing of the other's changes.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { admissions, routeName } from "../../control-plane/accounts/rights.ts";
import { newApiToken, sha256 } from "../../control-plane/accounts/tokens.ts";
import { app } from "../../control-plane/app.ts";
import { isOfNone } from "../../control-plane/choice.ts";
import { lineOver, type WebSocketLike } from "../../control-plane/connection/websocket.ts";
import type { Database } from "../../control-plane/store/client.ts";
import { readCluster } from "../../control-plane/store/copy.ts";
import { openTokens } from "../../control-plane/store/tokens.ts";
import type { AssignmentReply } from "../../model/assignment.ts";
import type { ClusterId } from "../../model/id.ts";
import type { JoinReply } from "../../model/report.ts";
import { startWorkerOver } from "../runtimes.ts";
import { hasSqld, startSqld } from "../store/databases.ts";
import { sampleStatus } from "../store/sample.ts";
import { describeMachine } from "./agent.ts";
import { startHere } from "./here.ts";

/** Where it runs, as far as this looks into it. */
interface Place {
	readonly url: string;
	readonly database: Database;
	ask(path: string, init?: RequestInit): Promise<Response>;
	stop(): Promise<void>;
}

const places = [
	{ name: "in this process", there: true, hasSockets: false, start: startInProcess },
	{ name: "workerd over a libSQL server", there: hasSqld, hasSockets: true, start: startAtEdge },
];

async function startInProcess(): Promise<Place> {
	const here = await startHere(undefined, {
		nodeTimeoutMs: 3_600_000,
		dockerHost: "docker.skein.test",
	});
	return {
		url: "",
		database: here.database,
		ask: (path, init) =>
			path.startsWith("http") ? here.fetch(new Request(path, init)) : here.ask(path, init),
		stop: () => here.stop(),
	};
}

async function startAtEdge(): Promise<Place> {
	const server = await startSqld();
	const at = await startWorkerOver(server, () => server.stop(), {
		SKEIN_NODE_TIMEOUT_MS: "3600000",
		SKEIN_DOCKER_HOST: "docker.skein.test",
	});
	// The first request makes the tables.
	await (await fetch(`${at.url}/api/clusters`)).text();
	const database = await server.open();
	return {
		url: at.url,
		database,
		async ask(path, init) {
			const { host, pathname, search } = new URL(path, at.url);
			return fetch(`${at.url}${pathname}${search}`, {
				...init,
				headers: { ...(init?.headers as Record<string, string>), Host: host },
				// A body that nobody read ends its connection.
				keepalive: false,
			});
		},
		async stop() {
			database.close();
			await at.stop();
		},
	};
}

/** Once it has been the same for a while. */
async function untilQuiet<Value>(look: () => Promise<Value>): Promise<Value> {
	let before = await look();
	for (let same = 0; same < 3; ) {
		await Bun.sleep(50);
		const now = await look();
		same = JSON.stringify(now) === JSON.stringify(before) ? same + 1 : 0;
		before = now;
	}
	return before;
}

for (const { name: place, there, hasSockets, start } of places) {
	describe.skipIf(!there)(place, () => {
		interface Asked {
			readonly method: string;
			readonly path: string;
			readonly body?: unknown;
		}

		let at: Place;
		/** Each has a token of the owner's role in an organization of its own, one cluster, and one node in it. */
		let alpha: Tenant;
		let beta: Tenant;
		/** Everything that was asked in alpha's life, as it was asked. */
		const life: Asked[] = [];
		const ids: Record<string, string> = {};
		/** What nobody but alpha may read; and those of it that others may come to have as well, for saying the same. */
		let marks: readonly string[];
		const known = "what only alpha knows";
		const names = [
			...["alphas-net", "alphas-pw", "alphas-conf", "alphas-web", "only-alphas"],
			...[known, btoa(known)],
		];
		let before: unknown;

		interface Tenant {
			readonly token: string;
			readonly cluster: ClusterId;
			readonly joinToken: string;
			readonly agent: JoinReply;
		}

		async function tell(token: string, { method, path, body }: Asked): Promise<Response> {
			return at.ask(path, {
				method,
				headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
				...(body !== undefined && { body: JSON.stringify(body) }),
			});
		}

		async function tenant(name: string, n: number): Promise<Tenant> {
			const token = newApiToken();
			await at.database.write([
				{
					sql: "insert into member (organization, user, role, created_ms) values (?1, ?1, 'owner', 1)",
					args: [name],
				},
			]);
			await openTokens(at.database).put({
				...{ sha256: await sha256(token), organization: name, user: name, name, kind: "secret" },
				...{
					role: "owner",
					scopes: null,
					clusters: null,
					createdMs: 1,
					expiresMs: null,
					usedMs: null,
				},
			});
			const made = await tell(token, { method: "POST", path: "/api/clusters", body: { name } });
			expect(made.status).toBe(201);
			const { id } = (await made.json()) as { id: ClusterId };
			const swarm = await tell(token, { method: "GET", path: "/swarm" });
			const { JoinTokens } = (await swarm.json()) as { JoinTokens: { Worker: string } };
			const description = describeMachine(n, { hostname: `machine-of-${name}`, routes: [] });
			const joined = await at.ask("/agent/join", {
				method: "POST",
				body: JSON.stringify({ token: JoinTokens.Worker, description }),
			});
			const agent = (await joined.json()) as JoinReply;
			return { token, cluster: id, joinToken: JoinTokens.Worker, agent };
		}

		/** As alpha, in the record of its life. */
		async function live(method: string, path: string, body?: unknown): Promise<{ ID: string }> {
			const asked = { method, path, ...(body !== undefined && { body }) };
			life.push(asked);
			const reply = await tell(alpha.token, asked);
			const text = await reply.text();
			expect({ path, ok: reply.ok, text: reply.ok ? "" : text }).toEqual({
				path,
				ok: true,
				text: "",
			});
			return text.startsWith("{") ? JSON.parse(text) : { ID: "" };
		}

		const image = `registry.alpha.example/only-alphas@sha256:${"a".repeat(64)}`;

		beforeAll(async () => {
			at = await start();
			alpha = await tenant("alpha", 1);
			beta = await tenant("beta", 2);
			const material = { Labels: {}, Data: btoa(known) };
			const network = { Name: "alphas-net", Driver: "overlay", Attachable: true };
			ids["networks"] = (
				(await live("POST", "/networks/create", network)) as unknown as { Id: string }
			).Id;
			ids["secrets"] = (
				await live("POST", "/secrets/create", { Name: "alphas-pw", ...material })
			).ID;
			ids["configs"] = (
				await live("POST", "/configs/create", { Name: "alphas-conf", ...material })
			).ID;
			const spec = {
				Name: "alphas-web",
				Mode: { Replicated: { Replicas: 2 } },
				TaskTemplate: {
					ContainerSpec: {
						Image: image,
						Secrets: [
							{
								SecretID: ids["secrets"],
								SecretName: "alphas-pw",
								File: { Name: "pw", UID: "0", GID: "0", Mode: 292 },
							},
						],
					},
					Networks: [{ Target: "alphas-net" }],
				},
			};
			ids["services"] = (await live("POST", "/services/create", spec)).ID;
			ids["nodes"] = alpha.agent.node;
			const tasks = await untilQuiet(async () => {
				const reply = await tell(alpha.token, { method: "GET", path: "/tasks" });
				const all = (await reply.json()) as { ID: string; NodeID?: string }[];
				return all
					.filter(({ NodeID }) => NodeID === alpha.agent.node)
					.map(({ ID: id }) => ({ id }));
			});
			expect(tasks.length).toBe(2);
			await at.ask("/agent/report", {
				method: "POST",
				headers: { Authorization: `Bearer ${alpha.agent.credential}` },
				body: JSON.stringify({
					tasks: tasks.map(({ id }) => ({
						id,
						status: { ...sampleStatus("running", 9), containerId: `container-of-alpha-${id}` },
					})),
				}),
			});
			ids["tasks"] = tasks[0]?.id ?? "";
			ids["containers"] = `container-of-alpha-${ids["tasks"]}`;
			const { Version } = (await live("GET", `/services/${ids["services"]}`)) as unknown as {
				Version: { Index: number };
			};
			await live("POST", `/services/alphas-web/update?version=${Version.Index}`, spec);
			for (const path of [
				"info",
				"swarm",
				"nodes",
				"services",
				"tasks",
				"networks",
				"secrets",
				"configs",
			]) {
				await live("GET", `/v1.41/${path}`);
			}
			for (const [kind, id] of Object.entries(ids)) {
				// Its node is asked about a container, and nobody answers for that one here.
				if (kind === "containers") life.push({ method: "GET", path: `/containers/${id}/json` });
				else await live("GET", `/${kind}/${id}`);
			}
			await live("GET", "/containers/json?all=1");
			await live("GET", "/events?since=0&until=1");
			await live("GET", `/api/services/${ids["services"]}/rollouts`);
			await live("GET", "/api/clusters");
			await untilQuiet(everything);
			const networks = await tell(alpha.token, { method: "GET", path: "/networks" });
			const ingress = ((await networks.json()) as { Id: string }[]).map(({ Id }) => Id);
			marks = [
				...Object.values(ids).filter(Boolean),
				...tasks.map(({ id }) => id),
				...ingress,
				...names,
				...[alpha.cluster, alpha.joinToken, alpha.agent.credential, "machine-of-alpha"],
			];
			// What the owner would do with it: these come last, since alpha survives them only because others may not.
			for (const [kind, id] of Object.entries(ids)) {
				if (kind !== "tasks" && kind !== "containers")
					life.push({ method: "DELETE", path: `/${kind}/${id}` });
			}
			life.push({ method: "POST", path: `/nodes/${alpha.agent.node}/update?version=1`, body: {} });
			life.push({ method: "DELETE", path: "/api/clusters/alpha" });
			before = await everything();
		}, 30_000);
		afterAll(() => at.stop());

		/** All that is alpha's, row by row, and where it lies. */
		async function everything() {
			const pages = await readCluster(at.database, alpha.cluster);
			const [placement, credentials, keyring] = await at.database.read([
				{ sql: "select * from placement where cluster = ?", args: [alpha.cluster] },
				{ sql: "select * from credential where cluster = ?", args: [alpha.cluster] },
				{ sql: "select * from keyring where cluster = ?", args: [alpha.cluster] },
			]);
			return JSON.stringify([pages, placement?.rows, credentials?.rows, keyring?.rows]);
		}

		/** What came back of alpha's that was not in the question. */
		function leaks(asked: Asked, answer: string): string[] {
			const question = JSON.stringify(asked);
			return marks.filter((mark) => answer.includes(mark) && !question.includes(mark));
		}

		async function answerTo(asked: Asked) {
			const reply = await tell(beta.token, asked);
			const text = `${JSON.stringify([...reply.headers])} ${await reply.text()}`;
			const found = { leaks: leaks(asked, text), isFault: text.includes("internal error") };
			expect({ ...asked, ...found }).toEqual({ ...asked, leaks: [], isFault: false });
			return reply.status;
		}

		const patterns = [
			...new Map(
				app({ version: "0", insecureRegistries: [] })
					.routes.filter(({ method }) => method !== "ALL")
					.map((route) => [`${route.method} ${route.path}`, route]),
			).values(),
		];

		/** The route with alpha's ids in the places of its parameters. */
		function pathOf(pattern: string): string {
			const [kind = ""] = pattern.replace(/^\/:version\{[^}]*\}/, "").match(/[a-z]+/) ?? [];
			return pattern
				.replace(/:version\{[^}]*\}/, "v1.41")
				.replaceAll(/:\w+\{(\w+)\|[^}]*\}/g, "$1")
				.replace(/(?<=\/clusters\/):\w+/, "alpha")
				.replace(/(?<=\/organizations\/):\w+/, "alpha")
				.replace(/(?<=services\/):\w+/, ids["services"] ?? "")
				.replaceAll(/:\w+(\{[^}]*\})?/g, ids[kind] ?? ids["tasks"] ?? "none")
				.replace(/\/events$/, "/events?since=0&until=1");
		}

		describe("another tenant's token", () => {
			test("finds nothing behind any route of a cluster that it names", async () => {
				const found: string[] = [];
				for (const { method, path } of patterns) {
					const asked = {
						method,
						path: `/c/alpha${pathOf(path)}`,
						...(method !== "GET" && { body: {} }),
					};
					const status = await answerTo(asked);
					const isBlind = /^GET (\/:version\{.*\})?\/(_ping|version)$/.test(`${method} ${path}`);
					// Where a route lies in no cluster, who has no right to it is turned away before that is said.
					const wanted = isOfNone(pathOf(path)) ? [404, 401, 403] : [isBlind ? 200 : 404];
					if (!wanted.includes(status)) found.push(`${method} ${asked.path}: ${status}`);
				}
				expect(found).toEqual([]);
				expect(await everything()).toEqual(before as string);
			}, 60_000);

			test("finds nothing by header or host name either, nor behind routes that name the cluster", async () => {
				const header = { Authorization: `Bearer ${beta.token}`, "Skein-Cluster": "alpha" };
				expect((await at.ask("/services", { headers: header })).status).toBe(404);
				const byHost = async (host: string) => {
					const headers = { Authorization: `Bearer ${beta.token}` };
					return (await at.ask(`http://${host}.docker.skein.test/services`, { headers })).status;
				};
				expect([await byHost("alpha"), await byHost("beta")]).toEqual([404, 200]);
				for (const { method, path } of patterns.filter((each) =>
					each.path.includes("/clusters/:"),
				)) {
					const asked = { method, path: pathOf(path), ...(method !== "GET" && { body: {} }) };
					// What takes an operator is refused whatever is named, there or not.
					const isOperators = admissions[routeName({ method, path })] === "operate";
					const status = isOperators ? 403 : 404;
					expect({ ...asked, status: await answerTo(asked) }).toEqual({ ...asked, status });
				}
				expect(await everything()).toEqual(before as string);
			});

			test("gets nothing of another's by its ids, on any route", async () => {
				for (const { method, path } of patterns) {
					// What ends beta's own credentials is not asked for: the rest of this would be refused for that.
					// Nor what asks beta's own node, which nobody plays here.
					if (/auth|swarm\/leave|organizations|volumes|system\/df/.test(path)) continue;
					// It would leave this machine: what runs in this process cannot.
					if (hasSockets && path.includes("distribution")) continue;
					const asked = { method, path: pathOf(path), ...(method !== "GET" && { body: {} }) };
					await answerTo(asked);
				}
				expect(await everything()).toEqual(before as string);
			}, 60_000);

			test("plays another's whole life, in that one's cluster and in its own, and learns and changes nothing", async () => {
				expect(life.length).toBeGreaterThan(30);
				for (const asked of life) {
					const there = { ...asked, path: `/c/alpha${asked.path}` };
					expect({ ...there, status: await answerTo(there) }).toEqual({ ...there, status: 404 });
				}
				expect(await everything()).toEqual(before as string);
				// At home the same names may well become its own; ids, tokens and machines never are.
				marks = marks.filter((mark) => !names.includes(mark));
				for (const asked of life) await answerTo(asked);
				expect(await everything()).toEqual(before as string);
			}, 60_000);
		});

		describe("another tenant's machine", () => {
			const say = (path: string, init: RequestInit = {}, credential = beta.agent.credential) =>
				at.ask(`/agent${path}`, { ...init, headers: { Authorization: `Bearer ${credential}` } });
			const post = (path: string, body: unknown) =>
				say(path, { method: "POST", body: JSON.stringify(body) });
			/** As alpha's machine hears it. */
			const untilAsked = async () => {
				for (let tries = 0; tries < 400; tries++) {
					const reply = await say("/assignment?hold=no", {}, alpha.agent.credential);
					const { requests } = (await reply.json()) as AssignmentReply;
					if (requests?.[0]) return requests[0];
					await Bun.sleep(25);
				}
				throw new Error("alpha's machine is asked nothing");
			};
			const clean = async (reply: Response) => {
				const text = await reply.text();
				expect(marks.filter((mark) => text.includes(mark))).toEqual([]);
				return text;
			};

			test("is given no other's assignment, contents or logins", async () => {
				await clean(await say("/assignment?revision=0&hash="));
				const asked = [{ material: ids["secrets"], version: 1 }];
				expect(JSON.parse(await clean(await post("/contents", { names: asked })))).toEqual({
					contents: [],
				});
				const login = await clean(await post("/registry-auth", { task: ids["tasks"] }));
				expect(JSON.parse(login)).toEqual({ registryAuth: null });
			});

			test("reports of other's tasks and nodes to nobody", async () => {
				const status = { ...sampleStatus("failed", 99), containerId: "beta's" };
				const reply = await post("/report", {
					tasks: [{ id: ids["tasks"], status }],
					unreachable: [alpha.agent.node],
				});
				await clean(reply);
				expect(await everything()).toEqual(before as string);
			});

			test("answers nothing that was asked of another, and reads nothing that was sent to it", async () => {
				const going = new AbortController();
				const asked = at.ask(`/containers/${ids["containers"]}/archive?path=/tmp`, {
					method: "PUT",
					headers: { Authorization: `Bearer ${alpha.token}` },
					body: "for alpha's eyes",
					signal: going.signal,
				});
				asked.catch(() => undefined);
				const request = await untilAsked();
				const stream = `/stream/${request?.id}`;
				expect(request?.id).toBeString();
				expect((await say(stream, { method: "POST", body: "a lie" })).status).toBe(404);
				const read = await say(stream);
				expect([read.status, await read.text()]).toEqual([404, ""]);
				const own = await say(stream, {}, alpha.agent.credential);
				expect([own.status, await own.text()]).toEqual([200, "for alpha's eyes"]);
				going.abort();
				// Its machine was heard meanwhile.
				before = await untilQuiet(everything);
			});

			const testAtSockets = hasSockets ? test : () => undefined;
			testAtSockets("opens no other's bell, and no tunnel to another's containers", async () => {
				const open = (path: string, credential: string) => {
					const socket = new WebSocket(`${at.url.replace("http", "ws")}${path}`, {
						headers: { Authorization: `Bearer ${credential}` },
					});
					socket.binaryType = "arraybuffer";
					return new Promise<WebSocket | undefined>((resolve) => {
						socket.addEventListener("open", () => resolve(socket));
						socket.addEventListener("error", () => resolve(undefined));
					});
				};
				const own = await open("/agent/bell", beta.agent.credential);
				expect(own).toBeDefined();
				own?.close();
				const forged = `SKEIN-NODE.${alpha.agent.node}.${"0".repeat(64)}`;
				expect(await open("/agent/bell", forged)).toBeUndefined();
				expect(await open("/agent/bell", beta.token)).toBeUndefined();
				const attach = `/containers/${ids["containers"]}/attach?stream=1&stdout=1`;
				const query = `/api/tunnel?path=${encodeURIComponent(attach)}`;
				expect(await open(`/c/alpha${query}`, beta.token)).toBeUndefined();
				// What the first message says of the cluster or the caller leads nowhere else either.
				for (const headers of [
					{},
					{ "Skein-Cluster": "alpha" },
					{ "Skein-Cluster": alpha.cluster },
					{ "X-Skein-Organization": "alpha", "Skein-Cluster": "alpha" },
					{ Authorization: `Bearer ${alpha.agent.credential}` },
				]) {
					const socket = await open(query, beta.token);
					if (!socket) throw new Error("its own tunnel does not open");
					const line = lineOver(socket as WebSocketLike);
					line.say(JSON.stringify({ headers, body: "" }));
					const { status } = JSON.parse(await line.first) as { status: number };
					expect([headers, status]).toEqual([headers, 404]);
					const said = await new Response(line.bytes).text();
					const asked = { method: "GET", path: query + JSON.stringify(headers) };
					expect(leaks(asked, said)).toEqual([]);
				}
				expect(await everything()).toEqual(before as string);
			});

			test("does not become another's with that one's id, key or credential", async () => {
				const forged = `SKEIN-NODE.${alpha.agent.node}.${"0".repeat(64)}`;
				for (const path of ["/assignment", "/report", "/contents", "/leave"]) {
					const method = path === "/assignment" ? "GET" : "POST";
					const reply = await say(
						path,
						{ method, ...(method === "POST" && { body: "{}" }) },
						forged,
					);
					expect([path, reply.status]).toEqual([path, 401]);
				}
				// With beta's join token, alpha's WireGuard key and alpha's credential a machine is a new one of beta's.
				const description = describeMachine(1, { hostname: "thief", routes: [] });
				const reply = await say(
					"/join",
					{ method: "POST", body: JSON.stringify({ token: beta.joinToken, description }) },
					alpha.agent.credential,
				);
				expect(reply.status).toBe(200);
				const joined = (await reply.json()) as JoinReply;
				expect(joined.node).not.toBe(alpha.agent.node);
				const found = await tell(beta.token, { method: "GET", path: `/nodes/${joined.node}` });
				expect(found.status).toBe(200);
				expect(await everything()).toEqual(before as string);
			});

			test("leaves no cluster but its own", async () => {
				expect((await say("/leave", { method: "POST" })).status).toBe(204);
				expect(await everything()).toEqual(before as string);
			});
		});

		test("alpha itself finds all of it still there", async () => {
			for (const [kind, id] of Object.entries(ids)) {
				if (kind === "containers") continue;
				const reply = await tell(alpha.token, { method: "GET", path: `/c/alpha/${kind}/${id}` });
				expect([id, reply.status]).toEqual([id, 200]);
				expect(await reply.text()).toContain(id);
			}
		});
	});
}
