// `docker skein` on a person's own machine: a control plane reached over TCP alone, and from then on plain docker, of two
// versions, against a real container through the local socket and the tunnel.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import { ensureRoot } from "../lab/roots.ts";
import { type Ran, run, start } from "../lab/run.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const endpoint = "http://192.168.77.254:8787";

describe.skipIf(Boolean(reason))("docker skein", () => {
	let cluster: TestCluster;
	let env: Record<string, string>;
	const clis: Record<string, string> = {};

	/** Over there, where the control plane is in reach. */
	const skein = (line: string, stdin = ""): Promise<Ran> =>
		cluster.lab.client.exec(["sh", "-c", line], { env, stdin, timeoutMs: 60_000 });
	const must = async (line: string, stdin?: string) => {
		const { code, stdout, stderr } = await skein(line, stdin);
		if (code !== 0) throw new Error(`${line}: ${stdout}${stderr}`);
		return stdout;
	};
	const token = async () => (await Bun.file(join(cluster.data, "token")).text()).trim();
	const inContainer = (command: string) => cluster.docker(`exec web.1 ${command}`);

	beforeAll(async () => {
		cluster = await startCluster({ nodes: [{ name: "h1", suite: "bookworm" }] });
		clis["28"] = cluster.cli.path;
		clis["20.10"] = join(await ensureRoot("bookworm"), "usr/bin/docker");
		env = {
			PATH: process.env["PATH"] ?? "",
			SHELL: "/bin/sh",
			TERM: "dumb",
			DOCKER_CONFIG: join(cluster.data, "user"),
		};
		const program = "echo started; while :; do sleep 1; echo tick; done";
		await cluster.docker(
			`service create -q --name web --stop-grace-period 1s lab/busybox:1 sh -c "${program}"`,
		);
	}, 600_000);
	afterAll(async () => {
		await skein("docker skein stop");
		await cluster?.stop();
	}, 60_000);

	test("installed by its line, signed in, a context made", async () => {
		expect(await must(`curl -fsSL ${endpoint}/cli.sh | sh`)).toContain("docker skein is there");
		const wrong = await skein(`docker skein login ${endpoint} --token -`, "wrong");
		expect([wrong.code, wrong.stderr]).toEqual([
			1,
			expect.stringContaining("does not take the token"),
		]);
		const said = await must(`docker skein login ${endpoint} --token -`, await token());
		expect(said).toContain("clusters: default");
		expect(await must("docker skein context default --name acme")).toContain("acme: made");
	}, 60_000);

	describe.each(["28", "20.10"])("plain docker %s", (version) => {
		const docker = (...args: string[]) => [clis[version] ?? "", "--context", "acme", ...args];

		test("service ls, ps, inspect", async () => {
			const listed = await run(docker("service", "ls"), { env });
			expect([listed.stdout, listed.stderr]).toEqual([expect.stringContaining("web"), ""]);
			expect((await run(docker("ps"), { env })).stdout).toContain("web.1.");
			const asked = docker("inspect", "-f", "{{.State.Running}}", "web.1");
			expect((await run(asked, { env })).stdout).toBe("true\n");
		}, 60_000);

		test("logs -f goes on, and ends with its reader", async () => {
			const followed = start(docker("service", "logs", "-f", "--raw", "web"), 0, { env });
			let text = "";
			for await (const bytes of followed.stdout) {
				text += new TextDecoder().decode(bytes);
				// Some came after the first answer, so it was not held back.
				if ((text.match(/tick/g) ?? []).length > 4) break;
			}
			expect(text).toContain("started");
			followed.kill("SIGKILL");
			await followed.exited;
		}, 60_000);

		test("what is piped in comes out as it was, some megabytes of it, and the exit code is told", async () => {
			const stdin = new Uint8Array(4 * 1024 * 1024 + 13);
			for (let at = 0; at < stdin.length; at += 65_536) {
				crypto.getRandomValues(stdin.subarray(at, at + 65_536));
			}
			const sum = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
			const piped = Bun.spawn(docker("exec", "-i", "web.1", "sh", "-c", "cat; exit 6"), {
				env,
				stdin,
				stdout: "pipe",
				stderr: "pipe",
				timeout: 60_000,
			});
			const heard = new Uint8Array(await new Response(piped.stdout).arrayBuffer());
			expect(await new Response(piped.stderr).text()).toBe("");
			expect([heard.length, sum(heard)]).toEqual([stdin.length, sum(stdin)]);
			expect(await piped.exited).toBe(6);
		}, 90_000);

		test("exec -it has a terminal, whose size follows the user's", async () => {
			const typed =
				"stty cols 91 rows 33; { sleep 6; stty cols 101 rows 44; } </dev/tty & " +
				`${docker("exec", "-it", "web.1", "sh").join(" ")}`;
			const said = await run(["script", "-qec", typed, "/dev/null"], {
				env,
				// The size follows the shell's start, on a busy machine by a while.
				stdin: slowly(["for i in 1 2 3 4 5 6 7 8 9 10; do stty size; sleep 1; done\n", "exit 5\n"]),
				timeoutMs: 60_000,
			});
			expect(said.stdout).toContain("33 91");
			expect(said.stdout).toContain("44 101");
			expect(said.code).toBe(5);
		}, 60_000);

		test("Ctrl-C ends both ends", async () => {
			const typed = docker("exec", "-it", "web.1", "sleep", "3131").join(" ");
			const shown = run(["script", "-qec", typed, "/dev/null"], {
				env,
				stdin: slowly(["", "", "", "\x03"]),
				timeoutMs: 60_000,
			});
			await until("it runs", async () => (await inContainer("ps")).includes("sleep 3131"));
			expect((await shown).code).toBe(130);
			expect(await inContainer("ps")).not.toContain("sleep 3131");
		}, 60_000);

		test("a client that is killed leaves nothing running that waits for it", async () => {
			const held = start(docker("exec", "-i", "web.1", "sh", "-c", "cat; echo held"), 0, {
				env,
				stdin: slowly([], 60_000),
			});
			await until("it runs", async () => (await inContainer("ps")).includes("echo held"));
			held.kill("SIGKILL");
			await held.exited;
			await until("it ends", async () => !(await inContainer("ps")).includes("echo held"));
		}, 60_000);
	});

	test("a control plane that is away is named, and is found again", async () => {
		await cluster.stopControlPlane();
		const away = await run([clis["28"] ?? "", "--context", "acme", "service", "ls"], { env });
		expect([away.code, away.stderr]).toEqual([
			1,
			expect.stringContaining(`${endpoint} cannot be reached`),
		]);
		await cluster.startControlPlane();
		const back = await run([clis["28"] ?? "", "--context", "acme", "service", "ls"], { env });
		expect(back.stdout).toContain("web");
	}, 60_000);
});

/** Each after a moment, as a person types; then open for as long as told. */
function slowly(texts: readonly string[], thenMs = 2_000): ReadableStream<Uint8Array> {
	const left = [...texts];
	return new ReadableStream({
		async pull(to) {
			await Bun.sleep(left.length > 0 ? 1_000 : thenMs);
			const text = left.shift();
			if (text === undefined) to.close();
			else to.enqueue(new TextEncoder().encode(text));
		},
	});
}
