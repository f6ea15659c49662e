// What people type into the docker CLI, and what they read: the same in every place the control plane runs.
//
// A transcript is a file of commands (`$ docker …`) with what they print, a file for each version of the CLI. Each is played
// twice, by both versions, in turn here and there; `SKEIN_TRANSCRIPTS=all bun test test/transcripts` plays all everywhere.
// `SKEIN_TRANSCRIPTS=write` writes them anew; the difference is then reviewed like code.

import { afterAll, expect, test } from "bun:test";
import { existsSync, realpathSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import { ensureRoot, suites } from "../lab/roots.ts";
import { runtimes } from "../runtimes.ts";
import { placeOf } from "./place.ts";
import { play, withRegistry } from "./play.ts";

const mode = process.env["SKEIN_TRANSCRIPTS"] ?? "";
const folder = await mkdtemp(join(tmpdir(), "skein-transcripts-"));

/** Knows every image but one. */
const images = Bun.serve({
	hostname: "127.0.0.1",
	port: 0,
	fetch({ url }) {
		const { pathname } = new URL(url);
		if (pathname.includes("no-such-image")) return new Response("", { status: 404 });
		if (pathname.includes("/blobs/")) return Response.json({ architecture: "amd64", os: "linux" });
		return Response.json({ config: { digest: `sha256:${"0".repeat(64)}` }, of: pathname });
	},
});
const registry = `127.0.0.1:${images.port}`;
await cp(join(import.meta.dir, "files"), join(folder, "files"), { recursive: true });
for (const name of ["app1.yml", "app2.yml"]) {
	const file = Bun.file(join(folder, "files", name));
	await Bun.write(file, withRegistry(await file.text(), registry));
}

/** One of each version that somebody wrote a transcript of, the newest first. */
const clients = new Map<string, string>();
for (const docker of await programs()) {
	const said = Bun.spawnSync([docker, "--version"]).stdout.toString();
	const version = /version (\d+\.\d+)/.exec(said)?.[1] ?? "";
	const isWritten = existsSync(join(import.meta.dir, `sessions.${version}.txt`));
	if (isWritten && !clients.has(version)) clients.set(version, docker);
}
const versions = [...clients.keys()].sort((a, b) => Number(b) - Number(a));
if (versions.length === 0) console.log("skipped: there is no docker that transcripts are for");

const places = runtimes
	.filter(({ there }) => there)
	.slice(0, mode === "write" ? 1 : undefined)
	.map((runtime) => placeOf(runtime, folder));
/** The edge has no machine that it is on. */
const atHome = "own-machine";
const lists = [
	...["rollouts", "sessions", "jobs", "containers", "stacks", "secrets"],
	...[atHome, "refusals", "from-afar"],
];
/** The first is the file's. */
const quickest = places[0]?.name;
const bun = places.filter(({ hosted }) => !hosted);
const hosted = places.filter(({ hosted }) => hosted);

const cases = lists.flatMap((list, index) => {
	const there = list === atHome ? bun : [...bun, ...hosted];
	if (mode !== "")
		return there.flatMap((place) => versions.map((version) => named(list, version, place)));
	// Every list with every version, and every list at the edge, which differs most; the two others take turns.
	const [first, ...others] = bun.slice(index % bun.length).concat(bun.slice(0, index % bun.length));
	const chosen = [first, ...(list === atHome ? others : hosted)];
	return Array.from({ length: Math.max(chosen.length, versions.length) }, (_, at) => {
		const place = chosen[at % chosen.length];
		const version = versions[(index + at) % versions.length];
		return place && version ? [named(list, version, place)] : [];
	}).flat();
});

function named(list: string, version: string, place: (typeof places)[number]) {
	return { list, version, where: place.name, place };
}

/**
 * What a progress bar still says at its end depends on which of two answers came first. Its exit code does not. Over a
 * file, which is quick, it says all of it.
 */
function withoutLastWords(text: string): string {
	return text.replaceAll(
		/^(verify: Service( \w+)? converged|rollback: rollback completed)\n/gm,
		"",
	);
}

afterAll(async () => {
	await Promise.all(places.map((place) => place.stop()));
	await images.stop(true);
	await rm(folder, { recursive: true, force: true });
}, 30_000);

test.concurrent.each(cases)(
	"$list: docker $version, $where",
	async ({ list, version, where, place }) => {
		const file = Bun.file(join(import.meta.dir, `${list}.${version}.txt`));
		await place.inTurn(async (at, afar) => {
			const commands = await Bun.file(join(import.meta.dir, `${list}.commands`)).text();
			const written = mode === "write" ? undefined : await file.text();
			const socket = list === "from-afar" ? afar : (at.socket ?? afar);
			const docker = clients.get(version) ?? "";
			const said = await play(commands, at, { docker, folder, socket, registry }, written);
			if (written === undefined) await Bun.write(file, said);
			else if (where === quickest) expect(said).toBe(written);
			else expect(withoutLastWords(said)).toBe(withoutLastWords(written));
		});
	},
	// The turn may come late; a command that hangs is ended long before.
	1_800_000,
);

/** Those on the path, and those of the lab. */
async function programs(): Promise<Set<string>> {
	const found = (process.env["PATH"] ?? "")
		.split(":")
		.map((each) => Bun.which("docker", { PATH: each }))
		.filter((path) => path !== null)
		.map((path) => realpathSync(path));
	const roots = labAvailable() ? [] : await Promise.all(suites.map(ensureRoot));
	return new Set([...found, ...roots.map((root) => join(root, "usr/bin/docker"))]);
}
