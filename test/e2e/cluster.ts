// A whole Skein for a test: a lab of real machines, a control plane beside it, agents put there by the real install
// line, and the real docker CLI pointed at it all.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Lab, LabOptions } from "../lab/lab.ts";
import { startLab } from "../lab/lab.ts";
import type { LabNode } from "../lab/node.ts";
import { cache, ensureRoot } from "../lab/roots.ts";
import { type Process, type Ran, run } from "../lab/run.ts";
import { testToken } from "../runtimes.ts";
import { nginxRootTar } from "./nginx.ts";

const root = join(import.meta.dir, "../..");
const controlAddress = "192.168.77.254:8787";

export interface TestCluster {
	readonly lab: Lab;
	/** The real CLI, as typed: words are split at spaces, quotes keep them together. Throws unless it ends with 0. */
	docker(line: string, typed?: Typed): Promise<string>;
	/** How the CLI is started, for programs that start it themselves. */
	readonly cli: { readonly path: string; readonly env: Readonly<Record<string, string>> };
	/** The same, whatever its end. */
	tryDocker(line: string, typed?: Typed): Promise<Ran>;
	/** Runs the install line on the node, as a person would; with today's token unless told. */
	join(node: Pick<LabNode, "exec">, token?: string): Promise<Ran>;
	/** With these variables besides those of the cluster, and on another runtime than this. */
	startControlPlane(env?: Readonly<Record<string, string>>, runtime?: string): Promise<void>;
	/** Another control plane in its place, that serves this agent: as after an upgrade. */
	upgrade(agent: string, runtime?: string): Promise<void>;
	/** kill -9 unless told. */
	stopControlPlane(signal?: NodeJS.Signals): Promise<void>;
	readonly socket: string;
	/** Of the control plane; its log is beside it. */
	readonly data: string;
	stop(): Promise<void>;
}

export interface Typed {
	/** Another docker than the one on the path. */
	readonly cli?: string;
	readonly timeoutMs?: number;
	readonly env?: Readonly<Record<string, string>>;
	readonly stdin?: string | Uint8Array;
}

/** One of each engine that our users have. */
export const threeEngines: LabOptions["nodes"] = [
	{ name: "h1", suite: "bookworm" },
	{ name: "h2", suite: "sid" },
	{ name: "h3", suite: "trixie" },
];

/**
 * What the control plane runs on: Bun and a file, Bun and a libSQL server, or workerd and one. The last is the hosted
 * endpoint, reached over TCP with the owner's token.
 */
export type Kind = keyof typeof programs;

const programs = {
	file: "control-plane/main.ts",
	sqld: "test/e2e/sqld-control-plane.ts",
	edge: "test/e2e/edge-control-plane.ts",
} as const;

export async function startCluster(options: {
	readonly nodes: LabOptions["nodes"];
	/** How many of them join at once; all unless told. */
	readonly joined?: number;
	readonly env?: Readonly<Record<string, string>>;
	/** `file` unless told. */
	readonly kind?: Kind;
}): Promise<TestCluster> {
	const { kind = "file" } = options;
	const lab = await startLab({ nodes: options.nodes });
	const cli = Bun.which("docker") ?? join(await ensureRoot("bookworm"), "usr/bin/docker");
	const folder = await mkdtemp(join(tmpdir(), "skein-e2e-"));
	const socket = join(folder, "skein.sock");
	const data = join(folder, "data");
	let controlPlane: Process | undefined;

	const env = {
		...(process.env as Record<string, string>),
		DOCKER_HOST: kind === "edge" ? `tcp://${controlAddress}` : `unix://${socket}`,
		DOCKER_CONFIG: join(folder, "docker-config"),
	};
	if (kind === "edge") await writeToken(env.DOCKER_CONFIG);

	const cluster: TestCluster = {
		lab,
		cli: { path: cli, env },
		socket,
		data,
		async docker(line, typed) {
			const ran = await cluster.tryDocker(line, typed);
			if (ran.code === 0) return ran.stdout;
			const said = `${ran.stdout}\n${ran.stderr}`.trim().slice(-1500);
			throw new Error(`docker ${line}\nexit ${ran.code}\n${said}`);
		},
		tryDocker: (line, { timeoutMs = 90_000, env: more = {}, cli: chosen = cli, stdin } = {}) =>
			(kind === "edge" ? lab.client : here).exec([chosen, ...words(line)], {
				env: { ...env, ...more },
				timeoutMs,
				...(stdin !== undefined && { stdin }),
			}),
		async join(node, token) {
			const worker = token ?? (await cluster.docker("swarm join-token -q worker")).trim();
			const line = `curl -fsSL http://${controlAddress}/install.sh | sh -s -- --token ${worker}`;
			return node.exec(["sh", "-c", line], { timeoutMs: 400_000 });
		},
		async startControlPlane(more = {}, runtime = process.execPath) {
			const started = lab.client.spawn([runtime, join(root, programs[kind])], {
				cwd: root,
				env: {
					SKEIN_LISTEN: controlAddress,
					SKEIN_SOCKET: socket,
					SKEIN_DATA: data,
					SKEIN_NODE: "no",
					SKEIN_INSECURE_REGISTRIES: "192.168.77.254:5000",
					...options.env,
					...more,
				},
			});
			controlPlane = started;
			void keep(started.stdout, join(folder, `control-plane.${started.pid}.out`));
			void keep(started.stderr, join(folder, `control-plane.${started.pid}.err`));
			await until("the control plane answers", async () => {
				if (!started.alive) throw new Error(`the control plane ended at once; see ${folder}`);
				return (await cluster.tryDocker("node ls")).code === 0;
			});
		},
		async upgrade(agent, runtime) {
			const file = join(data, "next.js");
			await Bun.write(file, agent);
			if (kind === "edge") {
				// It keeps its database and its objects, as the edge does.
				controlPlane?.kill("SIGHUP");
			} else {
				await cluster.stopControlPlane("SIGTERM");
				await cluster.startControlPlane({ SKEIN_AGENT_FILE: file }, runtime);
			}
		},
		async stopControlPlane(signal = "SIGKILL") {
			controlPlane?.kill(signal);
			await controlPlane?.exited;
			controlPlane = undefined;
		},
		async stop() {
			await cluster.stopControlPlane();
			await lab.stop();
			if (!process.env["SKEIN_KEEP"]) await rm(folder, { recursive: true, force: true });
		},
	};

	try {
		await Promise.all([cluster.startControlPlane(), importNginx(lab)]);
		for (const node of lab.nodes.slice(0, options.joined ?? lab.nodes.length)) {
			const ran = await cluster.join(node);
			if (ran.code !== 0)
				throw new Error(`${node.name} does not join: ${ran.stdout}\n${ran.stderr}`);
		}
		return cluster;
	} catch (error) {
		await cluster.stop();
		throw error;
	}
}

const here = { exec: run };

/** As a person does whose CLI knows no DOCKER_CUSTOM_HEADERS. */
async function writeToken(config: string): Promise<void> {
	const HttpHeaders = { Authorization: `Bearer ${testToken}` };
	await Bun.write(join(config, "config.json"), JSON.stringify({ HttpHeaders }));
}

/**
 * Asks until it is so, and gives how long that took. The bound is generous: tests say what happens, not how fast. Who
 * asks is a program to be started, so what takes long is asked for less often.
 */
export async function until(
	what: string,
	so: () => Promise<boolean>,
	timeoutMs = 60_000,
): Promise<number> {
	const started = performance.now();
	while (!(await so())) {
		if (performance.now() - started > timeoutMs)
			throw new Error(`not within ${timeoutMs} ms: ${what}`);
		await Bun.sleep(performance.now() - started < 5_000 ? 200 : 1_000);
	}
	return performance.now() - started;
}

async function importNginx(lab: Lab): Promise<void> {
	const stdin = new Uint8Array(await Bun.file(await nginxRootTar(cache)).arrayBuffer());
	const change = ["--change", "ENV PATH=/usr/sbin:/usr/bin:/bin", "--change", 'CMD ["nginx"]'];
	await Promise.all(
		lab.nodes.map((node) =>
			node.must(["docker", "import", ...change, "-", "nginx:1.22"], { stdin }),
		),
	);
}

/** Keeps what a program says, for the person who reads why a test failed. */
async function keep(stream: ReadableStream<Uint8Array>, path: string): Promise<void> {
	const file = Bun.file(path).writer();
	for await (const chunk of stream) {
		file.write(chunk);
		await file.flush();
	}
	await file.end();
}

/** A line as a shell would split it: spaces part words, quotes keep them together. */
function words(line: string): string[] {
	return [...line.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)].map(([word]) =>
		word.replace(/"([^"]*)"|'([^']*)'/g, (_all, double, single) => double ?? single),
	);
}
