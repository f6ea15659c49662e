// `npm run deploy`: puts the hosted endpoint on edge workers, from the environment and `wrangler.toml`. Says what is not
// set before anything is done; what follows `--` goes to wrangler (`npm run deploy -- --dry-run`). docs/hosting.md.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { localInstallFiles } from "./installables.ts";
import type { InstallFile } from "./world.ts";

const root = join(import.meta.dir, "..");

type Environment = Readonly<Record<string, string | undefined>>;

/** Those that must be there, and what they are. */
const needed = {
	SKEIN_DATABASE_URL: "the directory database: libsql://… or https://…",
	SKEIN_URL: "where people and agents reach the endpoint: https://skein.example.com",
	SKEIN_FILES_URL: "where the files that nodes install lie: https://files.example.com",
} as const;
const optional = [
	"SKEIN_DOCKER_HOST",
	"SKEIN_LIMITS",
	"SKEIN_MESH_RANGE",
	"SKEIN_NODE_TIMEOUT_MS",
	"SKEIN_SIGNUP",
	"SKEIN_GITHUB_CLIENT_ID",
	"SKEIN_MAIL_URL",
	"SKEIN_MAIL_FROM",
];
const neededSecrets = {
	SKEIN_KEY:
		"the master key, of any length: openssl rand -base64 32. Keep a copy: nothing is read without it",
	SKEIN_TOKEN: "the owner's token: openssl rand -hex 32",
	SKEIN_DATABASE_TOKEN: "of the directory database",
} as const;
const optionalSecrets = [
	"SKEIN_SHARDS",
	"SKEIN_OLD_KEYS",
	"SKEIN_METRICS_TOKEN",
	"SKEIN_GITHUB_CLIENT_SECRET",
	"SKEIN_MAIL_TOKEN",
];

export interface Deployment {
	/** What is missing or wrong, with the remedy; empty when it can go on. */
	readonly problems: readonly string[];
	/** For `wrangler deploy`. */
	readonly arguments: readonly string[];
	/** Those that the environment has: they replace what is there. */
	readonly secrets: Readonly<Record<string, string>>;
}

/** `there`: the names of secrets that the endpoint has already. Files lie under their sums, so that none is ever replaced. */
export function deployment(
	environment: Environment,
	there: ReadonlySet<string>,
	files: readonly InstallFile[],
): Deployment {
	const problems: string[] = [];
	for (const [name, what] of Object.entries(needed)) {
		if (!environment[name]) problems.push(`${name} is not set: ${what}`);
	}
	for (const [name, what] of Object.entries(neededSecrets)) {
		if (!environment[name] && !there.has(name)) {
			problems.push(`${name} is not set, and the endpoint has no such secret: ${what}`);
		}
	}
	const url = environment["SKEIN_URL"] ?? "";
	if (url && !/^https:\/\/[^/]+$/.test(url)) {
		problems.push(`SKEIN_URL: ${url} is not https://HOST, without a path`);
	}
	const variables = [...Object.keys(needed), ...optional]
		.filter((name) => name !== "SKEIN_FILES_URL" && environment[name])
		.map((name) => [name, environment[name]]);
	const lines = files.map(
		(file) => `${file.name} ${file.sha256} ${environment["SKEIN_FILES_URL"]}/${placeOf(file)}`,
	);
	const given = [...Object.keys(neededSecrets), ...optionalSecrets].filter(
		(name) => environment[name],
	);
	const dockerHost = environment["SKEIN_DOCKER_HOST"];
	return {
		problems,
		arguments: [
			...[...variables, ["SKEIN_INSTALL_FILES", lines.join("\n")]].flatMap(([name, value]) => [
				"--var",
				`${name}:${value}`,
			]),
			...["--domain", url.replace("https://", "")],
			...(dockerHost ? ["--route", `*.${dockerHost}/*`] : []),
		],
		secrets: Object.fromEntries(given.map((name) => [name, environment[name] ?? ""])),
	};
}

const placeOf = ({ name, sha256 }: InstallFile) => `${sha256.slice(0, 16)}/${name}`;

async function main(more: readonly string[]): Promise<number> {
	const isDry = more.includes("--dry-run");
	const folder = await mkdtemp(join(tmpdir(), "skein-deploy-"));
	try {
		const install = localInstallFiles(folder);
		const files = await install.files();
		const there = isDry ? new Set(Object.keys(neededSecrets)) : await secretsThere();
		const { problems, arguments: given, secrets } = deployment(process.env, there, files);
		for (const problem of problems) console.error(problem);
		if (problems.length > 0) return 1;
		if (!isDry) {
			for (const file of files) {
				if (!(await upload(file, await install.open(file.name)))) return 1;
			}
		}
		const secretsFile = join(folder, "secrets.json");
		await writeFile(secretsFile, JSON.stringify(secrets), { mode: 0o600 });
		const kept = isDry ? [] : ["--secrets-file", secretsFile];
		return await wrangler(["deploy", ...given, ...kept, ...more], "inherit").exited;
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
}

/** Into the bucket that SKEIN_FILES_BUCKET names; else to a folder, for whatever serves SKEIN_FILES_URL. */
async function upload(file: InstallFile, content: Response | undefined): Promise<boolean> {
	if (!content) throw new Error(`${file.name} could not be made`);
	const place = placeOf(file);
	const path = join(root, "dist/install", place);
	await mkdir(join(path, ".."), { recursive: true });
	await Bun.write(path, content);
	const bucket = process.env["SKEIN_FILES_BUCKET"];
	if (bucket) {
		const put = ["r2", "object", "put", `${bucket}/${place}`, "--file", path, "--remote"];
		return (await wrangler(put, "inherit").exited) === 0;
	}
	const address = `${process.env["SKEIN_FILES_URL"]}/${place}`;
	const found = await fetch(address, { method: "HEAD" }).catch(() => undefined);
	if (found?.ok) return true;
	console.error(
		`${address} is not there: copy dist/install/${place} to where it is served from, or name an R2 bucket in SKEIN_FILES_BUCKET`,
	);
	return false;
}

/** None where there is no such worker yet. */
async function secretsThere(): Promise<Set<string>> {
	const child = wrangler(["secret", "list", "--format", "json"], "pipe");
	const said = await new Response(child.stdout as ReadableStream).text();
	if ((await child.exited) !== 0) return new Set();
	return new Set((JSON.parse(said) as { name: string }[]).map(({ name }) => name));
}

function wrangler(words: readonly string[], stdout: "inherit" | "pipe") {
	return Bun.spawn([join(root, "node_modules/.bin/wrangler"), ...words], {
		cwd: root,
		env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
		stdin: "inherit",
		stdout,
		stderr: "inherit",
	});
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
