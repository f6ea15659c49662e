// A private registry on the outside client, where nodes can push to and pull from.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Client, clientAddress } from "./client.ts";
import { ensureRoot } from "./roots.ts";
import { until } from "./run.ts";

export interface RegistryOptions {
	readonly port?: number;
	/** Passwords by user; without any, everybody is welcome. */
	readonly users?: Readonly<Record<string, string>>;
}

export interface Registry {
	/** Where images are: `ADDRESS/NAME:TAG`. */
	readonly address: string;
	stop(): Promise<void>;
}

export async function startRegistry(
	client: Client,
	dir: string,
	{ port = 5000, users = {} }: RegistryOptions,
): Promise<Registry> {
	const address = `${clientAddress}:${port}`;
	const home = join(dir, `registry-${port}`);
	await mkdir(home, { recursive: true });
	const passwords = await Promise.all(Object.entries(users).map(passwordLine));
	const htpasswd = join(home, "htpasswd");
	await Bun.write(htpasswd, passwords.join(""));
	const auth = { auth: { htpasswd: { realm: "lab", path: htpasswd } } };
	const config = {
		version: "0.1",
		log: { level: "warn" },
		storage: { filesystem: { rootdirectory: join(home, "data") } },
		http: { addr: address },
		...(passwords.length > 0 && auth),
	};
	// JSON is YAML too.
	await Bun.write(join(home, "config.yml"), JSON.stringify(config));
	const program = join(await ensureRoot("bookworm"), "usr/bin/docker-registry");
	const process = client.spawn([program, "serve", join(home, "config.yml")]);
	await until(`registry on ${address}`, 10_000, async () => {
		const asked = await client.exec([
			"curl",
			"--silent",
			"--output",
			"/dev/null",
			`http://${address}/v2/`,
		]);
		if (!process.alive) throw new Error(await new Response(process.stderr).text());
		return asked.code === 0;
	});
	const stop = async () => {
		process.kill();
		await process.exited;
	};
	return { address, stop };
}

/** The registry knows bcrypt only; the lowest cost there is will do. */
async function passwordLine([user, password]: [string, string]): Promise<string> {
	return `${user}:${await Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 })}\n`;
}
