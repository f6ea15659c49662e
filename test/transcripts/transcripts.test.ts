// What people type into the docker CLI, and what they read: every docker on this machine, against the door.
//
// A transcript is a file of commands (`$ docker …`) with what they print, a file for each version of the CLI. What changes
// from run to run is redacted. `SKEIN_TRANSCRIPTS=write bun test test/transcripts` writes them anew; the difference is
// then reviewed like code.

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { frame } from "../../control-plane/engine/logs.ts";
import { type Door, openDoor } from "../contract/door.ts";

const write = process.env["SKEIN_TRANSCRIPTS"] === "write";
const folder = mkdtempSync(join(tmpdir(), "skein-transcripts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

for (const { docker, version } of clients()) {
	describe(`docker ${version}`, () => {
		test.each(["sessions", "refusals"])(
			"%s",
			async (name) => {
				const commands = await Bun.file(join(import.meta.dir, `${name}.commands`)).text();
				const file = Bun.file(join(import.meta.dir, `${name}.${version}.txt`));
				const said = await play(docker, commands);
				if (write) await Bun.write(file, said);
				expect(said).toBe(await file.text());
			},
			120_000,
		);
	});
}

interface Client {
	readonly docker: string;
	/** Major and minor: patches print the same. */
	readonly version: string;
}

/** Those on the path, one of each version that somebody wrote a transcript of. */
function clients(): Client[] {
	const found = (process.env["PATH"] ?? "")
		.split(":")
		.map((folder) => Bun.which("docker", { PATH: folder }))
		.filter((path) => path !== null)
		.map((path) => realpathSync(path));
	const byVersion = new Map<string, string>();
	for (const docker of new Set(found)) {
		const said = Bun.spawnSync([docker, "--version"]).stdout.toString();
		const version = /version (\d+\.\d+)/.exec(said)?.[1];
		if (version && (write || hasTranscripts(version)) && !byVersion.has(version)) {
			byVersion.set(version, docker);
		}
	}
	return [...byVersion].map(([version, docker]) => ({ docker, version }));
}

function hasTranscripts(version: string): boolean {
	return existsSync(join(import.meta.dir, `sessions.${version}.txt`));
}

async function play(docker: string, commands: string): Promise<string> {
	const door = await openDoor({ init: false, readTask: logs, fetch: registry });
	const socket = join(folder, `${crypto.randomUUID()}.sock`);
	const server = Bun.serve({ unix: socket, fetch: (request) => door.app.fetch(request) });
	const env = {
		PATH: process.env["PATH"] ?? "",
		HOME: folder,
		DOCKER_HOST: `unix://${socket}`,
		DOCKER_CONFIG: join(folder, "config"),
	};
	const lines: string[] = [];
	try {
		for (const line of commands.split("\n").filter((each) => each.trim() !== "")) {
			lines.push(line);
			if (line.startsWith("#")) continue;
			if (line.startsWith("! ")) {
				await happen(door, line.slice(2));
				continue;
			}
			const run = Bun.spawn(["sh", "-c", line.replace(/^\$ docker\b/, docker)], {
				env,
				stdin: "ignore",
				stdout: "pipe",
				stderr: "pipe",
				timeout: 60_000,
			});
			const agents = door.clusters.current ? keepUp(door, run.exited) : undefined;
			const [stdout, stderr, code] = await Promise.all([
				new Response(run.stdout).text(),
				new Response(run.stderr).text(),
				run.exited,
			]);
			await agents;
			if (door.clusters.current) await door.settle();
			lines.push(...redacted(stdout + stderr), ...(code === 0 ? [] : [`(exit ${code})`]), "");
		}
		expect(door.faults).toEqual([]);
		return `${lines.join("\n").trimEnd()}\n`;
	} finally {
		await server.stop(true);
		door.close();
	}
}

/** The machines work while the CLI waits for them. */
async function keepUp(door: Door, until: Promise<unknown>): Promise<void> {
	let over = false;
	void until.then(() => {
		over = true;
	});
	while (!over) {
		await door.settle();
		await Bun.sleep(20);
	}
}

/** What nobody types: machines that join, and lose their power. */
async function happen(door: Door, what: string): Promise<void> {
	const [verb, hostname = "", engineVersion = "28.5.1"] = what.split(" ");
	if (verb === "joins") await door.agents.join(hostname, { engineVersion });
	else if (verb === "dies") {
		const node = [...door.cluster().facts.nodes.values()].find(
			({ description }) => description.hostname === hostname,
		);
		if (node) await door.agents.powerOff(node.id);
		door.cluster().replan();
	} else throw new Error(`a script can not say: ${what}`);
	await door.settle();
}

/** Knows every image but one. */
async function registry({ url }: Request): Promise<Response> {
	if (url.includes("no-such-image")) return new Response("", { status: 404 });
	if (url.includes("/blobs/")) return Response.json({ architecture: "amd64", os: "linux" });
	return Response.json({ config: { digest: `sha256:${"0".repeat(64)}` }, of: url });
}

async function logs(): Promise<ReadableStream<Uint8Array>> {
	const said = ["64 bytes from 127.0.0.1: seq=0\n", "64 bytes from 127.0.0.1: seq=1\n"];
	const body = new Response(new Blob(said.map((line) => frame(1, line)))).body;
	if (!body) throw new Error("a response of bytes has a body");
	return body;
}

const redactions: readonly (readonly [RegExp, string])[] = [
	[/SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}/g, "TOKEN"],
	[/\b(?=[0-9a-z]*\d)[0-9a-z]{25}\b/g, "ID"],
	[/^[0-9a-z]{12}(?= )/g, "SHORTID"],
	[/\b(?:Less than a second|About a minute|less than a second|\d+ \w+) ago\b/g, "TIME ago"],
	[/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| \+0000 utc)?/g, "TIME"],
	[/ {2,}/g, "  "],
	[/-{4,}/g, "----"],
];

/** How a progress bar gets there is a matter of moments. */
const passing = /^(overall progress|\d+\/\d+:|[0-9a-z]{12}:|verify: Waiting)/;

function redacted(text: string): string[] {
	return text
		.split(/[\n\r]+/)
		.filter((line) => !passing.test(line))
		.map((line) => redactions.reduce((kept, [what, by]) => kept.replace(what, by), line).trimEnd())
		.filter((line) => line !== "");
}
