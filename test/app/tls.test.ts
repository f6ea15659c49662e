// A client's certificate in place of a token, over TLS: as `docker --tlsverify` comes.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BunProcess, startBun } from "../runtimes.ts";

const hasTools = Bun.which("openssl") !== null;

describe.skipIf(!hasTools)("certificates", () => {
	let folder: string;
	let at: BunProcess;
	const file = (name: string) => join(folder, name);
	const run = async (...command: string[]) => {
		const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
		const [out, err] = await Promise.all([
			new Response(child.stdout).text(),
			new Response(child.stderr).text(),
		]);
		return { code: await child.exited, out, err };
	};
	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), "skein-tls-"));
		for (const name of ["server", "client", "stranger"]) {
			const made = await run(
				...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
				...[
					"-nodes",
					"-days",
					"2",
					"-subj",
					`/CN=${name}`,
					"-addext",
					"subjectAltName=IP:127.0.0.1",
				],
				...["-keyout", file(`${name}.key`), "-out", file(`${name}.pem`)],
			);
			expect(made.code).toBe(0);
		}
		at = await startBun({
			env: { SKEIN_TLS_CERT: file("server.pem"), SKEIN_TLS_KEY: file("server.key") },
		});
	}, 30_000);
	afterAll(async () => {
		await at.stop();
		await rm(folder, { recursive: true, force: true });
	});

	const asked = async (path: string, client?: string, init: RequestInit = {}) =>
		fetch(`${at.url}${path}`, {
			...init,
			tls: {
				ca: await Bun.file(file("server.pem")).text(),
				...(client && {
					cert: await Bun.file(file(`${client}.pem`)).text(),
					key: await Bun.file(file(`${client}.key`)).text(),
				}),
			},
		});

	test("one that is registered is its token, with its role; another is nobody's", async () => {
		expect(at.url).toStartWith("https://");
		const certificate = await Bun.file(file("client.pem")).text();
		const made = await asked("/api/tokens", undefined, {
			method: "POST",
			headers: { Authorization: `Bearer ${at.token}` },
			body: JSON.stringify({ name: "laptop", role: "viewer", certificate }),
		});
		expect(made.status).toBe(201);
		expect(await made.json()).toMatchObject({ kind: "certificate", role: "viewer" });
		const account = await asked("/api/account", "client");
		expect(await account.json()).toMatchObject({ kind: "token", role: "viewer" });
		expect((await asked("/services/create", "client", { method: "POST", body: "{}" })).status).toBe(
			403,
		);
		expect((await asked("/info", "stranger")).status).toBe(401);
		expect((await asked("/info")).status).toBe(401);
	});

	test.skipIf(Bun.which("docker") === null)("the docker CLI comes with it", async () => {
		const tls = (client: string) => [
			...["--tlsverify", "--tlscacert", file("server.pem")],
			...["--tlscert", file(`${client}.pem`), "--tlskey", file(`${client}.key`)],
		];
		const host = at.url.replace("https:", "tcp:");
		const info = await run("docker", ...tls("client"), "-H", host, "service", "ls");
		expect({ code: info.code, err: info.err }).toEqual({ code: 0, err: "" });
		expect(info.out).toContain("REPLICAS");
		const create = await run(
			"docker",
			...tls("client"),
			"-H",
			host,
			"network",
			"create",
			"-d",
			"overlay",
			"a",
		);
		expect([create.code, create.err]).toEqual([
			1,
			expect.stringContaining("this takes the role developer"),
		]);
		const stranger = await run("docker", ...tls("stranger"), "-H", host, "service", "ls");
		expect(stranger.code).toBe(1);
	});
});
