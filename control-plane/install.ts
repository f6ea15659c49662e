// What the install lines fetch, a machine's and a user's: the script, with our address and the sums of what it is to
// load, and those files.
//
// Open to all: there is no secret in it, and a machine that is no node yet has nothing to show.

import { Hono } from "hono";
import type { AppEnv, InstallFile } from "./world.ts";

export function installRouter(): Hono<AppEnv> {
	const routes = new Hono<AppEnv>();

	for (const name of ["install.sh", "cli.sh"] as const) {
		routes.get(`/${name}`, async (c) => {
			const { install } = c.env.world;
			const [script, files] = await Promise.all([install.script(name), install.files()]);
			return c.text(fillIn(script, c.get("publicUrl"), files), 200, {
				"Content-Type": "text/x-shellscript; charset=utf-8",
				"Cache-Control": "no-store",
			});
		});
	}

	routes.get("/install/:name", async (c) => {
		const found = await c.env.world.install.open(c.req.param("name"));
		return found ?? c.json({ message: `no file ${c.req.param("name")} to install here` }, 404);
	});

	return routes;
}

/**
 * The script's placeholders: `@URL@` is ours; `@FILES@` one line a file, "name sha256 url". None of them holds
 * anything that a shell could take for more than a word.
 */
export function fillIn(script: string, url: string, files: readonly InstallFile[]): string {
	const lines = files.map(
		(file) => `${file.name} ${file.sha256} ${file.url ?? `${url}/install/${file.name}`}`,
	);
	return script.replaceAll("@URL@", shellWord(url)).replaceAll("@FILES@", lines.join("\n"));
}

/** The address comes from a request's Host header, so it is not to be trusted in a script. */
function shellWord(url: string): string {
	const { origin } = new URL(url);
	return origin.replaceAll(/[^A-Za-z0-9:/.[\]-]/g, "");
}
