// `docker skein`: the plugin of the docker CLI. Answers Docker's question what it is, and runs the command.

import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { parseArgs } from "node:util";
import { messageOf } from "../model/errors.ts";
import manifest from "../package.json" with { type: "json" };
import { run } from "./commands.ts";
import { Complaint } from "./complaint.ts";
import type { Ran } from "./contexts.ts";
import { placesIn } from "./logins.ts";
import type { Terminal } from "./terminal.ts";

/** Docker's protocol for plugins of its CLI: asked so, a plugin says what it is. */
const metadataCommand = "docker-cli-plugin-metadata";
const metadata = {
	SchemaVersion: "0.1.0",
	Vendor: "Skein",
	Version: manifest.version,
	ShortDescription: "Clusters of Skein, in docker contexts",
};

/** Docker hands on its own options in front of our name. */
function split(args: readonly string[]): {
	readonly docker: readonly string[];
	readonly own: string[];
} {
	const at = args.indexOf("skein");
	return { docker: args.slice(0, Math.max(at, 0)), own: args.slice(at + 1) };
}

function configFolder(dockerOptions: readonly string[]): string {
	const at = dockerOptions.lastIndexOf("--config");
	const joined = dockerOptions.findLast((each) => each.startsWith("--config="));
	const given = at >= 0 ? dockerOptions[at + 1] : joined?.slice("--config=".length);
	return given || process.env["DOCKER_CONFIG"] || join(homedir(), ".docker");
}

function terminal(config: string, options: readonly string[]): Terminal {
	return {
		places: placesIn(config),
		program: [process.execPath, Bun.main],
		version: manifest.version,
		isAsking: Boolean(process.stdin.isTTY),
		isShowing: Boolean(process.stdout.isTTY),
		docker: (args) => docker(config, args),
		host: () => hostOf(config, options),
		say: (line) => console.log(line),
		warn: (line) => console.error(line),
		ask: (prompt) => ask(prompt, false),
		askSecret: (prompt) => ask(prompt, true),
		read: () => Bun.stdin.text(),
		async write(bytes) {
			const out = Bun.stdout.writer();
			for await (const chunk of bytes) {
				out.write(chunk);
				await out.flush();
			}
			await out.end();
		},
	};
}

/** In docker's own order: an option, the context that is named, the environment, the context in use. */
async function hostOf(config: string, options: readonly string[]): Promise<string> {
	const { values } = parseArgs({
		args: [...options],
		options: { host: { type: "string", short: "H" }, context: { type: "string", short: "c" } },
		strict: false,
	});
	const { DOCKER_HOST: host, DOCKER_CONTEXT: context } = process.env;
	const named = typeof values.context === "string" ? values.context : undefined;
	if (typeof values.host === "string") return values.host;
	if (host && !named) return host;
	const which = named ?? context;
	const format = ["--format", "{{.Endpoints.docker.Host}}"];
	const asked = await docker(config, ["context", "inspect", ...format, ...(which ? [which] : [])]);
	if (asked.code !== 0) throw new Complaint(asked.stderr.trim());
	return asked.stdout.trim();
}

/** The CLI that called us, where it says so. */
async function docker(config: string, args: readonly string[]): Promise<Ran> {
	const { DOCKER_CONTEXT: _, DOCKER_HOST: __, ...env } = process.env;
	const program = env["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"] || "docker";
	const child = Bun.spawn([program, "--config", config, ...args], {
		env,
		stdin: "ignore",
		stdout: "pipe",
		stderr: "pipe",
	});
	const [stdout, stderr, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	return { code, stdout, stderr };
}

function ask(prompt: string, isSecret: boolean): Promise<string> {
	const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
	const reader = createInterface({
		input: process.stdin,
		output: isSecret ? silent : process.stderr,
		terminal: isSecret,
	});
	// Only now, since from here on nothing typed is shown.
	process.stderr.write(prompt);
	return new Promise((resolve, reject) => {
		reader.once("line", (line) => {
			if (isSecret) process.stderr.write("\n");
			resolve(line);
			reader.close();
		});
		reader.once("SIGINT", () => reader.close());
		reader.once("close", () => reject(new Complaint("nothing was given")));
	});
}

async function main(args: readonly string[]): Promise<void> {
	if (args[0] === metadataCommand) {
		console.log(JSON.stringify(metadata));
		return;
	}
	const { docker, own } = split(args);
	await run(terminal(configFolder(docker), docker), own);
}

try {
	await main(process.argv.slice(2));
} catch (error) {
	if (!(error instanceof Complaint)) throw error;
	console.error(`docker skein: ${messageOf(error)}`);
	process.exitCode = 1;
}
