// Bad input: each a clear error that names the field and the remedy; nothing lost, nothing crashed.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const controlPlane = "http://192.168.77.254:8787";

describe.skipIf(Boolean(reason))("refusals", () => {
	let cluster: TestCluster;

	beforeAll(async () => {
		cluster = await startCluster({ nodes: [{ name: "h1", suite: "trixie" }] });
		await cluster.docker("network create -d overlay --subnet 10.0.20.0/24 net");
		await cluster.docker("service create --name taken --network net --publish 8091:80 nginx:1.22", {
			timeoutMs: 120_000,
		});
	}, 900_000);

	/** Whatever was asked before, what ran still runs. */
	afterAll(async () => {
		const [state] = (
			await cluster.docker('service ls --format "{{.Name}} {{.Replicas}}" -f name=taken')
		).split("\n");
		await cluster.stop();
		expect(state).toBe("taken 1/1");
	}, 60_000);

	test.each([
		["a taken name", "service create --name taken -d nginx:1.22", /name conflicts|already exists/],
		[
			"a taken port",
			"service create --name other -d --publish 8091:80 nginx:1.22",
			/port '8091' is already in use by service 'taken'/,
		],
		[
			"a malformed name",
			"service create --name bad_name! -d nginx:1.22",
			/name must be valid as a DNS name component/,
		],
		[
			"an overlapping subnet",
			"network create -d overlay --subnet 10.0.20.128/25 other",
			/net\b.*10\.0\.20\.0\/24|10\.0\.20\.0\/24.*net\b/,
		],
		[
			"a subnet of the machines' own network",
			"network create -d overlay --subnet 192.168.0.0/16 other",
			/h1.*192\.168\.77|192\.168\.77.*h1/,
		],
		[
			"a constraint nobody can read",
			"service create --name other -d --constraint node.labels.zone nginx:1.22",
			/constraint expected one operator/,
		],
		[
			"an unknown network",
			"service create --name other -d --network nowhere nginx:1.22",
			/network nowhere not found/,
		],
		["an unknown node", "node update --availability drain nobody", /node nobody not found/],
		["another driver", "network create -d macvlan other", /overlay/],
		["a second swarm", "swarm init", /already part of a swarm/],
	])("%s", async (_name, line, words) => {
		const ran = await cluster.tryDocker(line);
		expect(ran.code).not.toBe(0);
		expect(ran.stderr).toMatch(words);
	});

	test("an unknown image: the task says so, in the engine's words", async () => {
		await cluster.docker("service create --name noimage -d nowhere.invalid/none:1");
		let said = "";
		await until("the task's error is shown", async () => {
			said = await cluster.docker('service ps noimage --no-trunc --format "{{.Error}}"');
			return /no such image|not found|no such host|lookup|connection refused|dial tcp/i.test(said);
		});
		await cluster.docker("service rm noimage");
	}, 90_000);

	test("a constraint that no node meets: pending, with the reason and the count", async () => {
		await cluster.docker(
			"service create --name nowhere -d --constraint node.labels.zone==east nginx:1.22",
		);
		await until("the reason is shown", async () =>
			/no suitable node \(scheduling constraints not satisfied on 1 node\)/.test(
				await cluster.docker('service ps nowhere --no-trunc --format "{{.Error}}"'),
			),
		);
		await cluster.docker("node update --label-add zone=east h1");
		await until("it runs once a node does", async () =>
			/Running/.test(await cluster.docker('service ps nowhere --format "{{.CurrentState}}"')),
		);
		await cluster.docker("service rm nowhere");
	}, 120_000);

	const ask = async (
		path: string,
		init: { body?: string; token?: string; method?: string } = {},
	) => {
		const headers = init.token ? ["-H", `Authorization: Bearer ${init.token}`] : [];
		const body = init.body === undefined ? [] : ["--data-binary", "@-"];
		const ran = await cluster.lab.client.exec(
			[
				"curl",
				"-sS",
				"-m",
				"20",
				"-X",
				init.method ?? "GET",
				...headers,
				...body,
				"-w",
				"\n%{http_code} %{content_type}",
				`${controlPlane}${path}`,
			],
			init.body === undefined ? {} : { stdin: init.body },
		);
		const [status = "", type = ""] = (ran.stdout.trim().split("\n").at(-1) ?? "").split(" ");
		return { status, type, body: ran.stdout };
	};
	const ownToken = async () => (await Bun.file(join(cluster.data, "token")).text()).trim();

	test("TCP without a token: nothing but _ping, and what to do", async () => {
		expect(await ask("/_ping")).toMatchObject({ status: "200" });
		for (const path of ["/services", "/v1.45/nodes", "/info"]) {
			const answer = await ask(path);
			expect(answer).toMatchObject({ status: "401", type: "application/json" });
			expect(JSON.parse(answer.body.split("\n")[0] ?? "")).toHaveProperty("message");
			expect(await ask(path, { token: "wrong" })).toMatchObject({ status: "401" });
			expect(await ask(path, { token: await ownToken() })).toMatchObject({ status: "200" });
		}
	});

	test.each([
		["malformed JSON", '{"Name":'],
		["no JSON object", "[]"],
		["an empty body", ""],
		["nesting without end", `${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`],
		["a spec without a container", '{"Name":"x"}'],
	])("%s", async (_name, body) => {
		const answer = await ask("/services/create", { method: "POST", body, token: await ownToken() });
		expect(answer).toMatchObject({ status: "400", type: "application/json" });
	});

	test("a body of more than 10 MB", async () => {
		const body = JSON.stringify({ Name: "big", Labels: { x: "y".repeat(11_000_000) } });
		expect(
			await ask("/services/create", { method: "POST", body, token: await ownToken() }),
		).toMatchObject({ status: "413" });
	});

	test("agents: a wrong token, a stolen node id, a report that is none", async () => {
		const node =
			(await cluster.docker('node ls -f name=h1 --format "{{.ID}}"')).trim().split(" ")[0] ?? "";
		const join = await ask("/agent/join", {
			method: "POST",
			body: JSON.stringify({ token: "SWMTKN-1-no-no", description: {} }),
		});
		expect(Number(join.status)).toBeGreaterThanOrEqual(400);
		for (const token of ["", `SKEIN-NODE.${node}.guessed`, node]) {
			const answer = await ask("/agent/report", { method: "POST", body: "{}", token });
			expect(answer).toMatchObject({ status: "401" });
		}
		expect(
			await ask("/agent/assignment?revision=0&hash=", { token: `SKEIN-NODE.${node}.guessed` }),
		).toMatchObject({ status: "401" });
	}, 120_000);

	test("installed twice: the node keeps its identity", async () => {
		const before = await cluster.docker('node ls --format "{{.ID}} {{.Hostname}}"');
		const ran = await cluster.join(cluster.lab.node("h1"));
		expect(`${ran.stdout}${ran.stderr}\nexit ${ran.code}`).toEndWith("exit 0");
		expect(await cluster.docker('node ls --format "{{.ID}} {{.Hostname}}"')).toBe(before);
	}, 120_000);
});
