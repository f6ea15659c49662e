// The edge's program builds, as it would be deployed, without a network, and stays small: isolates are started often.

import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** It takes some 290: a library too many is noticed, a feature more is not. Platforms take 3 MiB and more. */
const mostKib = 1024;

const root = join(import.meta.dir, "../..");

test("wrangler's dry run takes it", async () => {
	const folder = await mkdtemp(join(tmpdir(), "skein-wrangler-"));
	const child = Bun.spawn(
		[
			join(root, "node_modules/.bin/wrangler"),
			...["deploy", "--dry-run", "--outdir", join(folder, "dist")],
		],
		{
			cwd: root,
			env: {
				...process.env,
				// It calls home otherwise, and waits for an answer that never comes.
				CLOUDFLARE_CF_FETCH_ENABLED: "false",
				WRANGLER_SEND_METRICS: "false",
				WRANGLER_SEND_ERROR_REPORTS: "false",
				WRANGLER_HIDE_BANNER: "true",
				XDG_CONFIG_HOME: folder,
				WRANGLER_LOG_PATH: join(folder, "log"),
			},
			stdout: "pipe",
			stderr: "pipe",
		},
	);
	const [said, complained, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	await rm(folder, { recursive: true, force: true });
	expect({ code, complained: complained.trim() }).toEqual({ code: 0, complained: "" });
	expect(said).toContain("--dry-run: exiting now");
	const [line, kib] = /Total Upload: .*gzip: ([\d.]+) KiB/.exec(said) ?? [];
	console.log(`the edge's program: ${line}`);
	expect(Number(kib)).toBeLessThan(mostKib);
}, 60_000);
