// Several clusters at one address, by the real docker CLI: which one is meant, said by a header in its config.json.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BunProcess, startBun } from "../runtimes.ts";
import { describeMachine } from "./agent.ts";

describe.skipIf(Bun.which("docker") === null)("two clusters", () => {
	let folder: string;
	let at: BunProcess;

	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), "skein-clusters-"));
		at = await startBun({});
		const headers = { Authorization: `Bearer ${at.token}` };
		const body = JSON.stringify({ name: "second" });
		const made = await fetch(`${at.url}/api/clusters`, { method: "POST", headers, body });
		expect(made.status).toBe(201);
		for (const cluster of [undefined, "default", "second", "third"]) {
			const config = { HttpHeaders: { ...headers, ...(cluster && { "Skein-Cluster": cluster }) } };
			await Bun.write(join(folder, cluster ?? "none", "config.json"), JSON.stringify(config));
		}
	}, 30_000);
	afterAll(async () => {
		await at.stop();
		await rm(folder, { recursive: true, force: true });
	});

	/** With the config.json that names the cluster. */
	async function docker(cluster: string, args: string, host = at.url.replace("http:", "tcp:")) {
		const child = Bun.spawn(["docker", "-H", host, ...args.split(" ")], {
			env: { PATH: process.env["PATH"], DOCKER_CONFIG: join(folder, cluster) },
			stdout: "pipe",
			stderr: "pipe",
		});
		const [out, err] = await Promise.all([
			new Response(child.stdout).text(),
			new Response(child.stderr).text(),
		]);
		return { code: await child.exited, out: out.trim(), err };
	}

	test("with no word of which, docker prints their names and the ways to say it", async () => {
		const { code, err } = await docker("none", "service ls");
		expect([code, err]).toEqual([
			1,
			expect.stringMatching(/which cluster\? There are default, second\. Name one: .*config\.json/),
		]);
		const third = await docker("third", "service ls");
		expect([third.code, third.err]).toEqual([1, expect.stringContaining("no such cluster: third")]);
	});

	test("a header in config.json leads to one, over TCP and over the socket, and to it alone", async () => {
		const made = await docker("second", "network create -d overlay only-there");
		expect({ code: made.code, err: made.err }).toEqual({ code: 0, err: "" });
		const names = async (cluster: string, host?: string) =>
			(await docker(cluster, "network ls --filter driver=overlay --format {{.Name}}", host)).out;
		expect(await names("second")).toBe("ingress\nonly-there");
		expect(await names("default")).toBe("ingress");
		expect(await names("second", `unix://${at.socket}`)).toBe("ingress\nonly-there");
	});

	test("the install line of the second cluster makes a machine its node", async () => {
		const { out } = await docker("second", "swarm join-token worker");
		expect(out).toContain(`curl -fsSL ${at.url}/install.sh | sh -s -- --token`);
		const token = /--token (SWMTKN-\S+)/.exec(out)?.[1];
		const body = JSON.stringify({ token, description: describeMachine(1) });
		const joined = await fetch(`${at.url}/agent/join`, { method: "POST", body });
		expect(joined.status).toBe(200);
		const nodes = async (cluster: string) =>
			(await docker(cluster, "node ls --format {{.Hostname}}")).out;
		expect(await nodes("second")).toBe(describeMachine(1).hostname);
		expect(await nodes("default")).toBe("");
	});
});
