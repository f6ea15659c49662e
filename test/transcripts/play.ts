// Plays a file of commands against a control plane, by a docker CLI: gives what was typed and what was printed.
//
// A line that begins with `$` is typed, one with `!` is what nobody types: clusters that are made, machines that join
// and lose their power. What changes from run to run is redacted. Images come from a registry at hand, whose address
// nobody types or sees: `nginx:1.22` stands for the one there.

import type { Runtime } from "../runtimes.ts";
import { Machines } from "./machines.ts";

export interface Client {
	/** The program. */
	readonly docker: string;
	/** Where commands find `files/`. */
	readonly folder: string;
	readonly socket: string;
	/** Address of the registry. */
	readonly registry: string;
}

/** For what is asked again until it is as it was written; reports and plans take their moments. */
const patienceMs = 10_000;

/** So long without news, all is done; a rollout is watched for longer than that. */
const quietMs = { whenAsked: 150, whenWritten: 500 };

/** Commands that change nothing. */
const asks =
	/^\$ docker (info|ps|inspect|images|top|diff|logs|\w+ (ls|ps|inspect|logs|services))\b/;

/** @param written what is expected; undefined where it is to be written anew */
export async function play(
	commands: string,
	at: Runtime,
	client: Client,
	written: string | undefined,
): Promise<string> {
	const machines = new Machines(at);
	const settled = () =>
		machines.settled(written === undefined ? quietMs.whenWritten : quietMs.whenAsked);
	const lines: string[] = [];
	const isAsWritten = (more: readonly string[]) =>
		written === undefined || `${written}\n`.startsWith(`${[...lines, ...more].join("\n")}\n`);
	try {
		for (const line of commands.split("\n").filter((each) => each.trim() !== "")) {
			if (line.startsWith("#")) {
				lines.push(line);
				continue;
			}
			if (line.startsWith("! ")) {
				await happen(at, machines, line.slice(2));
				await settled();
				lines.push(line);
				continue;
			}
			if (written === undefined || !asks.test(line)) await settled();
			const untilMs = performance.now() + patienceMs;
			const isToBeAsked = asks.test(line) && isAsWritten([]);
			let printed = await type(line, client);
			while (isToBeAsked && !isAsWritten(printed) && performance.now() < untilMs) {
				await Bun.sleep(100);
				printed = await type(line, client);
			}
			lines.push(...printed);
		}
		return `${lines.join("\n").trimEnd()}\n`;
	} finally {
		machines.stop();
	}
}

/** The command, what it printed, and an empty line. */
async function type(line: string, client: Client): Promise<string[]> {
	const { docker, folder, socket, registry } = client;
	const command = withRegistry(line, registry).replace(/^\$ docker\b/, docker);
	const run = Bun.spawn(["sh", "-c", command], {
		env: {
			PATH: process.env["PATH"] ?? "",
			HOME: folder,
			DOCKER_HOST: `unix://${socket}`,
			DOCKER_CONFIG: `${folder}/config`,
		},
		cwd: folder,
		stdin: "ignore",
		stdout: "pipe",
		stderr: "pipe",
		timeout: 60_000,
	});
	const [stdout, stderr, code] = await Promise.all([
		new Response(run.stdout).text(),
		new Response(run.stderr).text(),
		run.exited,
	]);
	const printed = redacted((stdout + stderr).replaceAll(`${registry}/`, ""));
	return [line, ...printed, ...(code === 0 ? [] : [`(exit ${code})`]), ""];
}

/** The same text with its images where the registry is. */
export function withRegistry(text: string, registry: string): string {
	return text.replace(/\b(?:nginx|busybox|redis|no-such-image):/g, `${registry}/$&`);
}

/** What nobody types. */
async function happen(at: Runtime, machines: Machines, what: string): Promise<void> {
	const [verb, ...words] = what.split(" ");
	const [hostname = "", engineVersion] = words;
	if (what === "no cluster") await eraseClusters(at);
	else if (what === "a cluster") {
		await eraseClusters(at);
		await api(at, "POST", "", { name: "default" });
	} else if (verb === "joins") await machines.join(hostname, engineVersion);
	else if (verb === "dies") await machines.die(words);
	else throw new Error(`a script can not say: ${what}`);
}

async function eraseClusters(at: Runtime): Promise<void> {
	const clusters = (await (await api(at, "GET", "")).json()) as { readonly name: string }[];
	for (const { name } of clusters) await api(at, "DELETE", `/${name}`);
}

async function api(at: Runtime, method: string, path: string, body?: object): Promise<Response> {
	const reply = await fetch(`${at.url}/api/clusters${path}`, {
		method,
		headers: { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" },
		...(body && { body: JSON.stringify(body) }),
	});
	if (!reply.ok) throw new Error(`${method} /api/clusters${path}: ${await reply.text()}`);
	return reply;
}

const redactions: readonly (readonly [RegExp, string])[] = [
	[/SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}/g, "TOKEN"],
	[/\b(?=[0-9a-z]*\d)[0-9a-z]{25}\b/g, "ID"],
	[/^[0-9a-z]{12}(?= )/g, "SHORTID"],
	[/\b(?:Less than a second|About a minute|less than a second|\d+ \w+) ago\b/g, "TIME ago"],
	[/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| \+0000 utc)?/g, "TIME"],
	[/\bUp (?:Less than a second|About a minute|\d+ \w+)/g, "Up TIME"],
	[/ {2,}/g, "  "],
	[/-{4,}/g, "----"],
];

/** How a progress bar gets there is a matter of moments. */
const passing =
	/^(overall progress|rollback: update rolled back|job progress|active tasks|\d+\/\d+:|[0-9a-z]{12}:|verify: Waiting)/;

function redacted(text: string): string[] {
	return text
		.split(/[\n\r]+/)
		.filter((line) => !passing.test(line))
		.map((line) => redactions.reduce((kept, [what, by]) => kept.replace(what, by), line).trimEnd())
		.filter((line) => line !== "");
}
