// Images from Git, on one of each engine: built on one node, stored in its agent's registry, run on the others without any
// registry outside. A stand-in for the control plane says what is to be built, and where images are.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { indexOf } from "../../control-plane/deployments/architectures.ts";
import { taskOf } from "../../edge-agent/task/template.test-data.ts";
import type { Assignment } from "../../model/assignment.ts";
import type { Build, BuildAssignment, BuildSecrets, BuildStatus } from "../../model/build.ts";
import type { BuildId, ClusterId, NodeId, TaskId } from "../../model/id.ts";
import type { ImageAssignment } from "../../model/image.ts";
import { labAvailable } from "../lab/available.ts";
import { type Lab, startLab } from "../lab/lab.ts";
import { must } from "../lab/run.ts";
import { until } from "./cluster.ts";
import type { StandInNode } from "./stand-in.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const control = "192.168.77.254:8787";
const git = "192.168.77.254:8080";
const names = ["h1", "h2", "h3"] as const;
type Name = (typeof names)[number];
const secret = "very-secret-word";

const dockerfile = `FROM lab/busybox:1
RUN head -c 3000000 /dev/urandom >/base
RUN --mount=type=secret,id=token wc -c </run/secrets/token >/length && cat /run/secrets/token
COPY page /www/index.html
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
`;

describe.skipIf(Boolean(reason))("builds", () => {
	let lab: Lab;
	let revision = 0;
	const wanted: Record<Name, { builds: BuildAssignment[]; tasks: string[] }> = {
		h1: { builds: [], tasks: [] },
		h2: { builds: [], tasks: [] },
		h3: { builds: [], tasks: [] },
	};
	let images: ImageAssignment[] = [];

	beforeAll(async () => {
		lab = await startLab({
			nodes: [
				{ name: "h1", suite: "bookworm" },
				{ name: "h2", suite: "sid" },
				{ name: "h3", suite: "trixie" },
			],
		});
		const here = (program: string, ...args: string[]) =>
			lab.client.spawn([process.execPath, join(import.meta.dir, program), ...args]);
		here("stand-in.ts", control, socket(), lab.dir);
		here("git-server.ts", git, join(lab.dir, "git"));
		await until("the stand-in answers", () =>
			ask("/nodes").then(
				() => true,
				() => false,
			),
		);
		await Promise.all(
			names.map((name) =>
				lab
					.node(name)
					.must(["sh", "-c", `curl -fsSL http://${control}/install.sh | sh -s -- --token good`]),
			),
		);
		await tell();
	}, 600_000);
	afterAll(() => lab?.stop(), 60_000);

	// --- the stand-in

	const socket = () => join(lab.dir, "stand-in.sock");
	async function ask<Answer>(path: string, body?: unknown): Promise<Answer> {
		const reply = await fetch(`http://stand-in${path}`, {
			unix: socket(),
			...(body !== undefined && { method: "PUT", body: JSON.stringify(body) }),
		} as RequestInit);
		return (await reply.json()) as Answer;
	}
	const nodes = () => ask<Record<Name, StandInNode>>("/nodes");
	const meshOf = (name: Name) => `10.91.0.${names.indexOf(name) + 1}`;

	/** Every node is told what is wanted now. */
	async function tell(): Promise<void> {
		const known = await nodes();
		revision++;
		for (const name of names) {
			const assignment: Assignment = {
				protocol: 1,
				cluster: "by-hand" as ClusterId,
				revision,
				self: {
					node: name as string as NodeId,
					hostname: name,
					index: names.indexOf(name) + 1,
					meshAddress: meshOf(name),
					meshRange: "10.91.0.0/24",
					availability: "active",
				},
				peers: names
					.filter((other) => other !== name)
					.map((other) => ({
						node: other as string as NodeId,
						hostname: other,
						index: names.indexOf(other) + 1,
						meshAddress: meshOf(other),
						publicKey: known[other].description.publicKey,
						endpoints: [`${lab.node(other).address}:51820`],
						down: false,
					})),
				networks: [],
				tasks: wanted[name].tasks.map((image, slot) =>
					taskOf({
						id: `task${slot}${name}` as TaskId,
						name: `web.${slot}.${name}`,
						slot,
						attachments: [],
						container: { image, args: [], stopGraceMs: 0 },
					}),
				),
				builds: wanted[name].builds,
				images,
			};
			await ask(`/assignment/${name}`, assignment);
		}
	}

	// --- repositories

	/** A commit with these files on top of what is there. */
	async function commit(repository: string, files: Record<string, string>): Promise<string> {
		const dir = join(lab.dir, "git", repository);
		const run = (...args: string[]) =>
			must(["git", "-c", "user.name=ann", "-c", "user.email=ann@example.org", "-C", dir, ...args]);
		await mkdir(dir, { recursive: true });
		await run("init", "--quiet", "--initial-branch=main");
		for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
		await run("add", "--all");
		await run("commit", "--quiet", "--message=one");
		return (await run("rev-parse", "HEAD")).trim();
	}

	let count = 0;
	async function build(
		name: Name,
		words: Partial<BuildAssignment> & Pick<BuildAssignment, "commit">,
		secrets: BuildSecrets = { secrets: {}, registries: {} },
	): Promise<string> {
		const id = `build${++count}`;
		await ask(`/secrets/${id}`, secrets);
		wanted[name].builds = [
			...wanted[name].builds,
			{
				id: id as BuildId,
				repository: `http://${git}/web/.git`,
				ref: "refs/heads/main",
				recipe: {
					context: ".",
					dockerfile: "Dockerfile",
					target: "",
					args: {},
					secrets: [],
				},
				architecture: "amd64",
				image: `skein.local/web:${words.commit.slice(0, 7)}`,
				desired: "complete",
				limits: { nanoCpus: 1_500_000_000, memoryBytes: 512 * 1024 * 1024, pids: 0 },
				timeoutMs: 120_000,
				...words,
			},
		];
		await tell();
		return id;
	}
	async function ended(name: Name, id: string): Promise<BuildStatus> {
		const last = async () => (await nodes())[name].builds[id]?.at(-1);
		await until(`${id} ends`, async () =>
			["complete", "failed", "cancelled"].includes((await last())?.state ?? ""),
		);
		const status = await last();
		if (!status) throw new Error(`${id} has no status`);
		return status;
	}

	// --- what happens

	let first: BuildStatus;
	let firstImage = "";
	test("a commit becomes an image, and a secret stays one", async () => {
		const sha = await commit("private", { Dockerfile: dockerfile, page: "one\n" });
		firstImage = `skein.local/web:${sha.slice(0, 7)}`;
		const id = await build(
			"h2",
			{
				commit: sha,
				repository: `http://${git}/private/.git`,
				recipe: {
					context: ".",
					dockerfile: "Dockerfile",
					target: "",
					args: {},
					secrets: ["token"],
				},
			},
			{
				login: { user: "builder", password: "let-me-in" },
				secrets: { token: secret },
				registries: {},
			},
		);
		first = await ended("h2", id);
		expect(first).toMatchObject({ state: "complete", error: "" });
		expect(first.times.map(([state]) => state)).toEqual([
			"assigned",
			"fetching",
			"building",
			"storing",
		]);
		await until("h2 says that it has it whole", async () =>
			(await nodes()).h2.images.includes(first.digest),
		);
		await until("the log is here", async () => Boolean((await nodes()).h2.buildLogs[id]));
		const log = (await nodes()).h2.buildLogs[id] ?? "";
		expect(log).toContain("RUN head -c 3000000");
		expect(log).toContain("•••");
		const h2 = lab.node("h2");
		const history = await h2.must(["docker", "history", "--no-trunc", firstImage]);
		const inspected = await h2.must(["docker", "inspect", firstImage]);
		const found = await h2.exec([
			"grep",
			"-rlE",
			`${secret}|let-me-in`,
			"/var/lib/skein-agent",
			"/run/skein-agent",
		]);
		const agentLog = await h2.must(["cat", "/var/log/skein-agent.log"]);
		for (const text of [log, history, inspected, found.stdout, agentLog]) {
			expect(text).not.toContain(secret);
			expect(text).not.toContain("let-me-in");
		}
		expect(found.stdout).toBe("");
		expect(await h2.must(["docker", "run", "--rm", firstImage, "cat", "/length"])).toBe("16\n");
	}, 120_000);

	test("others run it without a registry, and one of them keeps a copy", async () => {
		images = [
			{ repository: "web", digest: first.digest, keep: true, holders: ["h2" as string as NodeId] },
		];
		for (const name of ["h1", "h3"] as const)
			wanted[name].tasks = [`${firstImage}@${first.digest}`];
		await tell();
		for (const name of ["h1", "h3"] as const) {
			await until(
				`${name} runs it`,
				async () => (await nodes())[name].tasks[`task0${name}`]?.at(-1)?.state === "running",
			);
			const shown = await lab.node(name).must(["docker", "ps", "--format", "{{.Image}}"]);
			expect(shown.trim()).toBe(firstImage);
			await until(`${name} has it whole`, async () =>
				(await nodes())[name].images.includes(first.digest),
			);
		}
	}, 120_000);

	test("of several architectures every engine runs its own, by the index of all", async () => {
		// Two images for this one: the index says of the second that it is for another.
		const parts: Build[] = [];
		for (const [at, name] of (["h1", "h2"] as const).entries()) {
			const Dockerfile = 'FROM lab/busybox:1\nCOPY page /page\nCMD ["sleep", "1000"]\n';
			const sha = await commit("web", { Dockerfile, page: `${name}\n` });
			const status = await ended(name, await build(name, { commit: sha, isPart: true }));
			expect([status.state, status.error]).toEqual(["complete", ""]);
			expect(status.manifest?.size).toBeGreaterThan(100);
			const architecture = at === 0 ? "amd64" : "arm64";
			parts.push({ architecture, status } as Build);
			const holders = [name as string as NodeId];
			images = [...images, { repository: "web", digest: status.digest, keep: at === 0, holders }];
		}
		const index = indexOf(parts);
		if (!index) throw new Error("a node said too little");
		const { digest, text } = index;
		const holders = ["h1", "h2"] as string[] as NodeId[];
		images = [...images, { repository: "web", digest, keep: false, holders, index: text }];
		const image = `skein.local/web:several@${digest}`;
		for (const name of names) wanted[name].tasks = [...wanted[name].tasks, image];
		await tell();
		for (const name of names) {
			const id = `task${wanted[name].tasks.length - 1}${name}`;
			const states = async () => (await nodes())[name].tasks[id] ?? [];
			await until(`${name} runs it`, async () => (await states()).at(-1)?.state === "running");
			const on = lab.node(name);
			const filter = [
				"--filter",
				"ancestor=skein.local/web:several",
				"--format",
				"{{.ID}} {{.Image}}",
			];
			const [container = "", shown] = (await on.must(["docker", "ps", ...filter]))
				.trim()
				.split(" ");
			expect(shown).toBe("skein.local/web:several");
			expect(await on.must(["docker", "exec", container, "cat", "/page"])).toBe("h1\n");
		}
	}, 120_000);

	const plain = (lines: string) => `FROM lab/busybox:1\n${lines}\nCMD ["sleep", "1000"]\n`;
	const logOf = async (name: Name, id: string) => {
		await until(`the log of ${id} is here`, async () => id in (await nodes())[name].buildLogs);
		return (await nodes())[name].buildLogs[id] ?? "";
	};
	/** On all three at once. */
	async function buildOnAll(commit: string, words: Partial<BuildAssignment> = {}) {
		const ids: string[] = [];
		for (const name of names) ids.push(await build(name, { commit, ...words }));
		return Promise.all(
			names.map(async (name, index) => {
				const id = ids[index] ?? "";
				return { status: await ended(name, id), log: await logOf(name, id) };
			}),
		);
	}

	test("layers that did not change are pushed and pulled once", async () => {
		const Dockerfile = plain("RUN head -c 3000000 /dev/urandom >/big\nCOPY . /all");
		const before = await buildOnAll(await commit("web", { Dockerfile, page: "one\n" }));
		expect(before.map(({ status }) => status.error)).toEqual(["", "", ""]);
		const sha = await commit("web", { Dockerfile, page: "two\n" });
		const after = await buildOnAll(sha);
		for (const { status, log } of after) {
			expect(status).toMatchObject({ state: "complete", error: "" });
			expect(status.bytes).toBeGreaterThan(3_000_000);
			expect(log.match(/Pushed/g)).toHaveLength(1);
			expect(log.match(/Layer already exists/g)).toHaveLength(2);
		}
		// h1 takes over what h2 built, first the one commit and then the other.
		const holders = ["h2" as string as NodeId];
		const received: number[] = [];
		for (const { status } of [before[1], after[1]].filter((each) => each !== undefined)) {
			const bytes = async () =>
				Number(await lab.node("h1").must(["cat", "/sys/class/net/skein0/statistics/rx_bytes"]));
			const start = await bytes();
			images = [...images, { repository: "web", digest: status.digest, keep: true, holders }];
			await tell();
			await until("h1 has it whole", async () => (await nodes()).h1.images.includes(status.digest));
			received.push((await bytes()) - start);
		}
		expect(received[0]).toBeGreaterThan(3_000_000);
		expect(received[1]).toBeLessThan(500_000);
		console.log(`over the mesh: ${received.join(", then ")} bytes`);
	}, 120_000);

	test("a build that fails says at which step, and has no more memory than it may", async () => {
		// 20.10's BuildKit runs its steps in no group of ours; they are in it a moment later.
		const hungry =
			"RUN set -o pipefail; sleep 1; cat /proc/self/cgroup; head -c 300000000 /dev/zero | tail >/dev/null";
		const failing = await commit("web", { Dockerfile: plain("RUN echo so far; exit 3") });
		for (const { status } of await buildOnAll(failing)) {
			expect(status.state).toBe("failed");
			expect(status.error).toMatch(/^\[2\/2\] RUN echo so far; exit 3: exit code 3$/);
			expect(status.lines.join("\n")).toContain("so far");
		}
		const sha = await commit("web", { Dockerfile: plain(hungry) });
		const limits = { nanoCpus: 0, memoryBytes: 64 * 1024 * 1024, pids: 0 };
		for (const name of names) {
			const status = await ended(name, await build(name, { commit: sha, limits }));
			expect(status.error).toContain("needs more memory than it may have");
			// Of cgroups v1; in v2 a step sees no more than its own.
			const groups = status.lines.filter((line) => /[:,](cpu|memory)[,:]/.test(line));
			for (const group of groups) expect(group).toContain(":/skein-build");
		}
	}, 120_000);

	test("one that is cancelled leaves nothing, and who followed its log read it to the end", async () => {
		const sha = await commit("web", { Dockerfile: plain("RUN echo begun; sleep 1234") });
		const id = await build("h2", { commit: sha });
		const state = async () => (await nodes()).h2.builds[id]?.at(-1)?.state;
		await until("it is being built", async () => (await state()) === "building");
		const asked = { kind: "build-log", follow: true };
		await ask("/stream/h2", { id: "r1", sends: false, build: id, asked });
		const h2 = lab.node("h2");
		const sleeps = async () => (await h2.exec(["pgrep", "-f", "sleep 1234"])).stdout !== "";
		await until("its step runs", sleeps);
		wanted.h2.builds = wanted.h2.builds.map((each) =>
			each.id === id ? { ...each, desired: "cancelled" } : each,
		);
		await tell();
		expect((await ended("h2", id)).state).toBe("cancelled");
		await until("its step is gone", async () => !(await sleeps()));
		expect(await h2.must(["ls", `/var/lib/skein-agent/builds/${id}`])).not.toContain("checkout");
		expect(await h2.must(["ls", "/run/skein-agent/build"])).toBe("");
		await until("the log ended", async () => "r1" in (await nodes()).h2.streams);
		expect((await nodes()).h2.streams["r1"]).toMatch(/begun[\s\S]*cancelled/);
	}, 120_000);

	test("an agent that is killed begins its build anew", async () => {
		const sha = await commit("web", { Dockerfile: plain("RUN sleep 4") });
		const id = await build("h3", { commit: sha });
		const state = async () => (await nodes()).h3.builds[id]?.at(-1)?.state;
		await until("it is being built", async () => (await state()) === "building");
		const h3 = lab.node("h3");
		await h3.must(["pkill", "-KILL", "-f", "agent.js run"]);
		await h3.must(["/etc/init.d/skein-agent", "restart"]);
		expect(await ended("h3", id)).toMatchObject({ state: "complete", error: "" });
		expect(await logOf("h3", id)).toContain("started anew");
	}, 120_000);

	test("a node says what it builds with", async () => {
		await until("all say so", async () =>
			Object.values(await nodes()).every(({ description }) => description.builder),
		);
		const known = await nodes();
		expect(names.map((name) => known[name].description.builder?.builder)).toEqual([
			"buildkit",
			"buildkit",
			"buildkit",
		]);
	}, 60_000);
});
