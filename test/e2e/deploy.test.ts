// From a Git push to a service on three engines: a real repository behind git's own http-backend with its hook, no registry,
// no build server, nobody who loses a request.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Kept } from "../forge.ts";
import { labAvailable } from "../lab/available.ts";
import { run } from "../lab/run.ts";
import { startCluster, type TestCluster, threeEngines, until } from "./cluster.ts";
import { makeRepository, type Repository, serveGit } from "./repository.ts";
import type { Sum } from "./requests.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const root = join(import.meta.dir, "../..");
const forge = "192.168.77.254:3000";

const dockerfile = `FROM lab/busybox:1
RUN mkdir -p /www
COPY page /www/index.html
HEALTHCHECK --interval=1s --retries=3 CMD grep -vq sick /www/index.html
STOPSIGNAL SIGKILL
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
`;

interface Deployment {
	readonly number: number;
	readonly commit: string;
	readonly phase: string;
	readonly outcome: string | null;
	readonly reason: string;
	readonly lines: readonly string[];
	readonly services?: readonly { readonly name: string; readonly image: string }[];
	readonly build: { readonly node: string } | null;
	readonly times: readonly { readonly phase: string; readonly at: string }[];
}

describe.skipIf(Boolean(reason))("a push", () => {
	let cluster: TestCluster;
	let web: Repository;
	let webhook = "";
	let secret = "";

	const api = async <Answer>(path: string): Promise<Answer> => {
		const reply = await fetch(`http://skein/api${path}`, { unix: cluster.socket });
		return (await reply.json()) as Answer;
	};
	/** What the forge was told of a commit, in order. */
	async function toldOf(commit: string) {
		const kept = await cluster.lab.client.exec(["curl", "-sS", `http://${forge}/kept`]);
		const { statuses, deployments, complaints } = JSON.parse(kept.stdout) as Kept;
		expect(complaints).toEqual([]);
		return {
			statuses: statuses.filter((each) => each["sha"] === commit),
			deployments: deployments.filter(({ made }) => made["ref"] === commit),
		};
	}
	/** As the docker CLI starts its plugin. */
	const skein = (line: readonly string[], stdin?: string) =>
		run([process.execPath, join(root, "cli/main.ts"), "skein", ...line], {
			...(stdin !== undefined && { stdin }),
			env: { ...cluster.cli.env },
			timeoutMs: 120_000,
		});
	const deployments = (of = "web") => api<readonly Deployment[]>(`/applications/${of}/deployments`);
	const last = async (): Promise<Deployment | undefined> => (await deployments())[0];
	const push = (files: Readonly<Record<string, string>>, branch?: string) =>
		web.push(files, branch);
	/** As the command line says where an application's webhook is, and what its secret. */
	async function hookUp(repository: Repository, said: string) {
		const webhook = /address +(\S+)/.exec(said)?.[1] ?? "";
		const secret = /secret +(\S+)/.exec(said)?.[1] ?? "";
		await repository.hook(webhook, secret);
		return { webhook, secret };
	}
	/** As GitHub tells of pull request 7. */
	async function request(
		{ webhook, secret }: { readonly webhook: string; readonly secret: string },
		action: string,
		sha: string,
	) {
		const samples = join(root, "control-plane/webhooks/samples");
		const payload = await Bun.file(join(samples, "github-pull-request-opened.json")).json();
		Object.assign(payload, { action, number: 7 });
		payload.pull_request.head = { ...payload.pull_request.head, ref: "feature", sha };
		const body = JSON.stringify(payload);
		const signature = createHmac("sha256", secret).update(body).digest("hex");
		const sent = await cluster.lab.client.exec([
			...["curl", "-sSf", "-H", "X-GitHub-Event: pull_request", "--data-binary", body],
			...["-H", "Content-Type: application/json"],
			...["-H", `X-Hub-Signature-256: sha256=${signature}`],
			`http://192.168.77.254:8787${new URL(webhook).pathname}`,
		]);
		expect(sent.stderr).toBe("");
	}
	async function ended(commit: string, of = "web"): Promise<Deployment> {
		let found: Deployment | undefined;
		await until(
			`${commit.slice(0, 7)} is deployed`,
			async () => {
				found = (await deployments(of)).find((each) => each.commit === commit);
				return found !== undefined && found.outcome !== null;
			},
			170_000,
		).catch((error: Error) => {
			throw new Error(`${error.message}: ${JSON.stringify(found, null, 2)}`);
		});
		if (!found) throw new Error("it was not deployed");
		return found;
	}
	const urls = (port = 8095) =>
		cluster.lab.nodes.map(({ address }) => `http://${address}:${port}/`);
	const pages = (port?: number) =>
		Promise.all(
			urls(port).map(async (url) =>
				(await cluster.lab.client.exec(["curl", "-sS", "-m", "10", url])).stdout.trim(),
			),
		);

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: threeEngines,
			env: { SKEIN_INSECURE_FORGES: forge },
		});
		const { lab } = cluster;
		await serveGit(lab);
		web = await makeRepository(lab, "web");
		const standIn = join(root, "test/forge.ts");
		lab.client.spawn([process.execPath, standIn, forge, "github", "forge-token", "shop/web"]);
	}, 900_000);
	afterAll(() => cluster?.stop(), 60_000);

	test("an application is made by the command line, which says its webhook", async () => {
		const file = join(cluster.lab.dir, "web.json");
		await writeFile(
			file,
			JSON.stringify({
				spec: {
					name: "web",
					repository: web.url,
					forge: { kind: "github", api: `http://${forge}`, project: "shop/web" },
					environments: [
						{
							name: "production",
							branches: ["main"],
							url: "http://192.168.77.1:{port}/",
							before: ["sh", "-c", "grep -vq broken-migration /www/index.html"],
							create: {
								// No request takes longer, on the busiest machine.
								Labels: { "skein.drain": "20s" },
								Mode: { Replicated: { Replicas: 3 } },
								UpdateConfig: { Parallelism: 1, FailureAction: "rollback", Monitor: 500_000_000 },
								EndpointSpec: { Ports: [{ Protocol: "tcp", PublishedPort: 8095, TargetPort: 80 }] },
							},
						},
						{
							name: "preview",
							url: "http://192.168.77.1:{port}/",
							previews: { max: 1 },
							create: {
								Mode: { Replicated: { Replicas: 1 } },
								EndpointSpec: { Ports: [{ TargetPort: 80 }] },
							},
						},
					],
				},
				secrets: { forge: { token: "forge-token" } },
			}),
		);
		const made = await skein(["app", "create", "--file", file]);
		expect(`${made.code} ${made.stderr}`).toBe("0 ");
		({ webhook, secret } = await hookUp(web, made.stdout));
		expect((await skein(["app", "ls"])).stdout).toContain("web");
	}, 60_000);

	test("is built on one node and serves on all three, without a registry", async () => {
		const deployed = await ended(await push({ Dockerfile: dockerfile, page: "one\n" }));
		expect(deployed).toMatchObject({ outcome: "succeeded", reason: "" });
		expect(await pages()).toEqual(["one", "one", "one"]);
		const tasks = await cluster.docker(
			"service ps web -f desired-state=running --format '{{.Node}} {{.Image}}'",
		);
		expect(
			tasks
				.trim()
				.split("\n")
				.map((line) => line.split(" ")[0])
				.sort(),
		).toEqual(["h1", "h2", "h3"]);
		expect(tasks).toContain(`skein.local/web:${deployed.commit.slice(0, 12)}`);
		await until("the forge knows", async () =>
			(await toldOf(deployed.commit)).statuses.some((each) => each["state"] === "success"),
		);
		const told = await toldOf(deployed.commit);
		expect(told.statuses[0]).toMatchObject({ state: "pending", context: "skein/web/production" });
		expect(told.deployments).toHaveLength(1);
		expect(told.deployments[0]?.states.at(-1)).toMatchObject({
			state: "success",
			environment_url: "http://192.168.77.1:8095/",
		});
	}, 240_000);

	test("of a new version loses no request on the way", async () => {
		const script = join(import.meta.dir, "requests.ts");
		const asking = Bun.spawn([...cluster.lab.client.enter, process.execPath, script, ...urls()], {
			stdin: "pipe",
			stdout: "pipe",
			stderr: "inherit",
		});
		const deployed = await ended(await push({ page: "two\n" })).finally(() => {
			asking.stdin.write("over\n");
			asking.stdin.end();
		});
		const sum = JSON.parse(await new Response(asking.stdout).text()) as Sum;
		expect(deployed).toMatchObject({ outcome: "succeeded" });
		expect(await pages()).toEqual(["two", "two", "two"]);
		console.log(`${sum.asked} requests, ${sum.lost.length} lost; ${phasesOf(deployed)}`);
		expect(sum.lost).toEqual([]);
	}, 240_000);

	test("whose Dockerfile is broken fails with its step and last lines, and the old version serves", async () => {
		const token = (text: string) => skein(["app", "secret", "web", "forge"], text);
		expect((await token("another")).code).toBe(0);
		const broken = dockerfile.replace("RUN mkdir -p /www", "RUN echo about to fail && false");
		const failed = await ended(await push({ Dockerfile: broken, page: "three\n" }));
		expect(failed.outcome).toBe("failed");
		expect(failed.reason).toStartWith("build: ");
		expect([failed.reason, ...failed.lines].join("\n")).toContain("about to fail");
		expect(await pages()).toEqual(["two", "two", "two"]);
		const log = await skein(["app", "logs", "web"]);
		expect(log.stdout).toContain("about to fail");
		await until("it says that the forge refuses", async () =>
			(await skein(["app", "ls"])).stderr.includes("web: its forge is not told: GitHub refuses"),
		);
		expect((await token("forge-token\n")).code).toBe(0);
		await until("the forge knows", async () =>
			(await toldOf(failed.commit)).statuses.some((each) => each["state"] === "failure"),
		);
	}, 120_000);

	test("for which no node has room says which disk, and the old version serves", async () => {
		const builds = "/var/lib/skein-agent/builds";
		const onAll = (line: string) =>
			Promise.all(cluster.lab.nodes.map((node) => node.must(["sh", "-c", line])));
		await onAll(`mkdir -p ${builds} && mount -t tmpfs -o size=120m full ${builds}`);
		const failed = await ended(await push({ Dockerfile: dockerfile, page: "no room\n" }));
		await onAll(`umount ${builds}`);
		expect(failed.outcome).toBe("failed");
		expect(failed.reason).toContain(`the disk of ${builds}`);
		expect(await pages()).toEqual(["two", "two", "two"]);
	}, 120_000);

	test("whose migration fails changes nothing", async () => {
		const failed = await ended(await push({ Dockerfile: dockerfile, page: "broken-migration\n" }));
		expect(failed.outcome).toBe("failed");
		expect(failed.reason).toStartWith("before: sh -c grep -vq broken-migration");
		expect(await pages()).toEqual(["two", "two", "two"]);
		expect(await cluster.docker("service ls -q")).toMatch(/^\S+\n$/);
	}, 120_000);

	test("whose tasks are sick is rolled back, and says why", async () => {
		const failed = await ended(await push({ page: "sick\n" }));
		expect(failed.outcome).toBe("rolled back");
		expect(failed.reason).toContain("unhealthy");
		await until("the old version is whole", async () =>
			(await pages()).every((page) => page === "two"),
		);
	}, 240_000);

	test("after push ends in the newest, and none hangs", async () => {
		const commits: string[] = [];
		for (let count = 1; count <= 10; count++) commits.push(await push({ page: `many ${count}\n` }));
		const newest = await ended(commits.at(-1) ?? "");
		expect(newest.outcome).toBe("succeeded");
		const outcomes = (await deployments()).filter(({ commit }) => commits.includes(commit));
		expect(outcomes).toHaveLength(10);
		for (const { outcome } of outcomes)
			expect(["succeeded", "superseded"]).toContain(outcome ?? "");
		expect(await pages()).toEqual(["many 10", "many 10", "many 10"]);
	}, 240_000);

	test("is rolled back to the very image by one command", async () => {
		const [first] = (await deployments())
			.filter(({ outcome }) => outcome === "succeeded")
			.slice(-1);
		const back = await skein(["app", "rollback", "web", `${first?.number}`]);
		expect(`${back.code} ${back.stderr}`).toBe("0 ");
		expect(await pages()).toEqual(["one", "one", "one"]);
	}, 120_000);

	test("to a pull request is previewed beside it, until that is closed", async () => {
		const tell = (action: string, sha: string) => request({ webhook, secret }, action, sha);
		const page = async () => {
			const told = (await toldOf(sha)).deployments[0]?.states.at(-1)?.["environment_url"];
			return (await cluster.lab.client.exec(["curl", "-sS", "-m", "10", `${told}`])).stdout.trim();
		};
		await web.git("checkout", "-q", "-b", "feature");
		let sha = await push({ page: "preview one\n" }, "feature");
		await tell("opened", sha);
		expect(await ended(sha)).toMatchObject({ outcome: "succeeded" });
		await until("it serves", async () => (await page()) === "preview one");
		expect(await pages()).toEqual(["one", "one", "one"]);
		sha = await push({ page: "preview two\n" }, "feature");
		await tell("synchronize", sha);
		expect(await ended(sha)).toMatchObject({ outcome: "succeeded" });
		await until("it serves", async () => (await page()) === "preview two");
		expect((await skein(["app", "ls"])).stdout).toMatch(/web +pr-7 +web-pr-7 +#\d+ succeeded/);
		await tell("closed", sha);
		await until("its service is gone", async () => {
			const names = await cluster.docker("service ls --format '{{.Name}}'");
			return names.trim() === "web";
		});
		await until("the forge knows", async () => {
			const { states = [] } = (await toldOf(sha)).deployments[0] ?? {};
			return states.at(-1)?.["state"] === "inactive";
		});
		await web.git("checkout", "-q", "main");
	}, 120_000);

	test("to a registry of the user's is pulled from there by each node, and goes back to the very digest", async () => {
		const beganMs = Date.now();
		const { address } = await cluster.lab.registry({ users: { ann: "right-word" } });
		const registry = `${address}/team/web`;
		const deployed = (await deployments()).filter(({ outcome }) => outcome === "succeeded");
		const [two = "", one = ""] = deployed.slice(-2).map(({ commit }) => commit);
		const made = await skein(
			[
				...["app", "create", "pushed", "--repository", web.url, "--branch", "none"],
				...["--replicas", "3", "--registry", registry, "--registry-username", "ann"],
			],
			"right-word\n",
		);
		expect(`${made.code} ${made.stderr}`).toBe("0 ");
		const { spec, version } = await api<{ spec: { environments: object[] }; version: number }>(
			"/applications/pushed",
		);
		const quickly = { Parallelism: 0, Monitor: 200_000_000 };
		const create = (Replicas: number) => ({
			Labels: { "skein.drain": "0s" },
			Mode: { Replicated: { Replicas } },
			UpdateConfig: quickly,
		});
		const environments = [
			{ ...spec.environments[0], create: create(3) },
			{ name: "staging", create: create(1) },
		];
		const changed = await fetch(`http://skein/api/applications/pushed?version=${version}`, {
			unix: cluster.socket,
			method: "PUT",
			body: JSON.stringify({ spec: { ...spec, environments } }),
		});
		expect(changed.status).toBe(200);
		const deploy = (ref: string) => skein(["app", "deploy", "pushed", "--ref", ref]);
		const ofRunning = "-f desired-state=running --no-trunc --format {{.Image}}";
		const images = async (service: string) =>
			[
				...new Set((await cluster.docker(`service ps ${service} ${ofRunning}`)).trim().split("\n")),
			].join();
		const first = await deploy(one);
		expect(`${first.code} ${first.stderr}`).toBe("0 ");
		const image = await images("pushed");
		expect(image).toMatch(new RegExp(`^${registry}:${one.slice(0, 12)}@sha256:[0-9a-f]{64}$`));
		const tags = await cluster.lab.client.must([
			...["curl", "-sf", "-u", "ann:right-word", `http://${address}/v2/team/web/tags/list`],
		]);
		expect(JSON.parse(tags)).toEqual({ name: "team/web", tags: [one.slice(0, 12)] });
		const pulled = await Promise.all(
			cluster.lab.nodes.map((node) => node.must(["docker", "images", "--digests", registry])),
		);
		for (const list of pulled) expect(list).toContain(image.split("@")[1] ?? "?");

		const promoted = await skein(["app", "promote", "pushed", "1", "-e", "staging"]);
		expect(`${promoted.code} ${promoted.stderr}`).toBe("0 ");
		expect(await images("pushed-staging")).toBe(image);

		const key = ["app", "secret", "pushed", `registries.${address}`, "--user", "ann"];
		expect((await skein(key, "wrong-word\n")).code).toBe(0);
		const failed = await deploy(two);
		expect(failed.code).toBe(1);
		expect(failed.stderr).toContain(`pushing ${registry}:${two.slice(0, 12)}`);
		expect(failed.stderr).toContain(`${address} refuses the login that it was given`);
		expect(await images("pushed")).toBe(image);
		expect((await skein(key, "right-word\n")).code).toBe(0);
		expect((await deploy(two)).code).toBe(0);
		expect(await images("pushed")).toContain(`${registry}:${two.slice(0, 12)}@`);
		const back = await skein(["app", "rollback", "pushed", "1"]);
		expect(`${back.code} ${back.stderr}`).toBe("0 ");
		expect(await images("pushed")).toBe(image);
		console.log(`with a registry: ${((Date.now() - beganMs) / 1000).toFixed(1)} s`);
		await cluster.docker("service rm pushed pushed-staging");
	}, 240_000);
	describe("of a compose file", () => {
		let shop: Repository;
		let hooked = { webhook: "", secret: "" };
		const deployed = async (files: Readonly<Record<string, string>>) =>
			ended(await shop.push(files), "shop");
		const running = async () =>
			(await cluster.docker("stack services shop --format '{{.Name}} {{.Replicas}}'"))
				.trim()
				.split("\n")
				.sort();

		const compose = (more = "") => `
services:
  web:
    build: { context: web, args: { GREETING: "\${GREETING}" } }
    ports: ["8096:80"]
    networks: [back]
    configs: [{ source: site, target: /www/site, mode: 0444 }]
    deploy: { replicas: 2, update_config: &once { failure_action: rollback, monitor: 500ms, parallelism: 0 } }
  api:
    build: ./api
    ports: ["8097:80"]
    networks: [back]
    restart: always
    deploy: { update_config: *once }${more}
networks:
  back:
configs:
  site: { file: ./site }
`;
		const page = (text: string) => `FROM lab/busybox:1
ARG GREETING=api
RUN mkdir -p /www && echo "$GREETING ${text}" >/www/index.html
HEALTHCHECK --interval=1s --retries=3 CMD grep -vq sick /www/index.html
STOPSIGNAL SIGKILL
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
`;

		test("builds its services and makes them one stack", async () => {
			shop = await makeRepository(cluster.lab, "shop");
			const repository = ["--repository", shop.url];
			const file = ["--compose", "compose.yaml", "--env", "GREETING=hello"];
			const made = await skein(["app", "create", "shop", ...repository, ...file]);
			expect(`${made.code} ${made.stderr}`).toBe("0 ");
			hooked = await hookUp(shop, made.stdout);
			const first = await deployed({
				"compose.yaml": compose(`
  old:
    image: lab/busybox:1
    command: sleep 1000
    stop_signal: SIGKILL
    deploy: { update_config: *once }`),
				"web/Dockerfile": page("one"),
				"api/Dockerfile": page("one"),
				site: "first\n",
			});
			expect(first).toMatchObject({ outcome: "succeeded", reason: "" });
			expect(await pages(8096)).toEqual(["hello one", "hello one", "hello one"]);
			expect(await pages(8097)).toEqual(["api one", "api one", "api one"]);
			expect(await running()).toEqual(["shop_api 1/1", "shop_old 1/1", "shop_web 2/2"]);
			expect(await cluster.docker("network ls --filter name=shop_back -q")).not.toBe("");
			const log = await skein(["app", "logs", "shop"]);
			expect(log.stdout).toContain("Ignoring unsupported options: restart");
			expect(log.stdout).toContain("lab/busybox:1 goes by its tag");
		}, 240_000);

		test("of which one image and a config change, and a service goes", async () => {
			const [api] = (await deployments("shop"))[0]?.services ?? [];
			const second = await deployed({
				"compose.yaml": compose(),
				"web/Dockerfile": page("two"),
				site: "second\n",
			});
			expect(second).toMatchObject({ outcome: "succeeded", reason: "" });
			expect(second.services?.find(({ name }) => name === "shop_api")?.image.split("@")[1]).toBe(
				api?.image.split("@")[1] ?? "?",
			);
			expect(await pages(8096)).toEqual(["hello two", "hello two", "hello two"]);
			expect(await pages(8097)).toEqual(["api one", "api one", "api one"]);
			expect(await running()).toEqual(["shop_api 1/1", "shop_web 2/2"]);
			const [node] = cluster.lab.nodes;
			const site = ["curl", "-sS", `http://${node?.address}:8096/site`];
			expect((await cluster.lab.client.exec(site)).stdout).toBe("second\n");
		}, 240_000);

		test("to a pull request is a stack beside it at free ports, and goes whole when that is closed", async () => {
			const { spec, version } = await api<{ spec: { environments: object[] }; version: number }>(
				"/applications/shop",
			);
			const preview = { name: "preview", variables: { GREETING: "preview" }, previews: {} };
			const changed = await fetch(`http://skein/api/applications/shop?version=${version}`, {
				unix: cluster.socket,
				method: "PUT",
				body: JSON.stringify({ spec: { ...spec, environments: [...spec.environments, preview] } }),
			});
			expect([changed.status, await changed.text()]).toEqual([200, expect.anything()]);
			const beganMs = Date.now();
			await shop.git("checkout", "-q", "-b", "feature");
			const port = async (service: string) =>
				Number(
					await cluster.docker(
						`service inspect shop-pr-7_${service} --format '{{(index .Endpoint.Ports 0).PublishedPort}}'`,
					),
				);
			const quickly = compose().replaceAll("deploy: {", "deploy: { labels: { skein.drain: 0s },");
			const changes = {
				"compose.yaml": quickly,
				"api/Dockerfile": page("previewed"),
				site: "of the request\n",
			};
			const sha = await shop.push(changes, "feature");
			await request(hooked, "opened", sha);
			expect(await ended(sha, "shop")).toMatchObject({ outcome: "succeeded", reason: "" });
			const [web, its] = [await port("web"), await port("api")];
			const all = async () => [...(await pages(web)), ...(await pages(its))];
			const three = (text: string) => [text, text, text];
			expect(await all()).toEqual([...three("preview two"), ...three("api previewed")]);
			expect((await skein(["app", "logs", "shop"])).stdout).toContain("publishes no port 8096");
			const site = ["curl", "-sS", `${urls(web)[1]}site`];
			expect((await cluster.lab.client.exec(site)).stdout).toBe("of the request\n");
			expect(await pages(8096)).toEqual(three("hello two"));
			const left = async () => {
				const kinds = ["service", "network", "config"].map((kind) =>
					cluster.docker(`${kind} ls --filter name=shop-pr-7 -q`),
				);
				return (await Promise.all(kinds)).map(
					(lines) => lines.trim().split("\n").filter(Boolean).length,
				);
			};
			expect(await left()).toEqual([2, 1, 1]);
			await request(hooked, "closed", sha);
			await until("it is gone", async () => (await left()).every((count) => count === 0));
			expect(await running()).toEqual(["shop_api 1/1", "shop_web 2/2"]);
			await shop.git("checkout", "-q", "main");
			console.log(`a preview of a stack: ${((Date.now() - beganMs) / 1000).toFixed(1)} s`);
		}, 120_000);

		test("one of whose services is sick goes back whole, and one that is wrong says where", async () => {
			const sick = await deployed({
				"web/Dockerfile": page("sick"),
				"api/Dockerfile": page("new"),
			});
			expect(sick.outcome).toBe("rolled back");
			expect(sick.reason).toContain("shop_web");
			await until("the old versions are whole", async () => {
				const all = [...(await pages(8096)), ...(await pages(8097))];
				return all.every((text) => text === "hello two" || text === "api one");
			});
			const wrong = await deployed({
				"compose.yaml": compose().replace("ports:", "prots:"),
			});
			expect(wrong).toMatchObject({ outcome: "failed" });
			expect(wrong.reason).toContain("services.web Additional property prots is not allowed");
			expect(await pages(8096)).toEqual(["hello two", "hello two", "hello two"]);
		}, 240_000);

		test("is rolled back to its first images, settings and services by one command", async () => {
			const back = await skein(["app", "rollback", "shop", "1"]);
			expect(`${back.code} ${back.stderr}`).toBe("0 ");
			expect(await pages(8096)).toEqual(["hello one", "hello one", "hello one"]);
			expect(await running()).toEqual(["shop_api 1/1", "shop_old 1/1", "shop_web 2/2"]);
			await cluster.docker("stack rm shop");
		}, 120_000);
	});

	test("whose builder dies half-way is built elsewhere, though the control plane is killed meanwhile", async () => {
		const slow = dockerfile.replace("RUN mkdir -p /www", "RUN mkdir -p /www && sleep 12");
		const commit = await push({ Dockerfile: slow, page: "elsewhere\n" });
		let node: string | undefined;
		await until("it is being built", async () => {
			node = (await last())?.build?.node;
			return (await last())?.commit === commit && node !== undefined && node !== null;
		});
		const names = await cluster.docker('node ls --format "{{.ID}} {{.Hostname}}"');
		const name =
			names
				.split("\n")
				.find((line) => line.startsWith(node ?? "?"))
				?.split(" ")[1] ?? "";
		await cluster.stopControlPlane("SIGKILL");
		await cluster.lab.node(name).stop();
		await cluster.startControlPlane();
		const deployed = await ended(commit);
		expect(deployed).toMatchObject({ outcome: "succeeded", reason: "" });
		expect(deployed.build?.node).not.toBe(node);
		await cluster.lab.node(name).start();
	}, 240_000);
});

function phasesOf({ times }: Deployment): string {
	return times
		.slice(1)
		.map(({ at }, index) => {
			const before = times[index];
			return before
				? `${before.phase} ${((Date.parse(at) - Date.parse(before.at)) / 1000).toFixed(1)} s`
				: "";
		})
		.join(", ");
}
