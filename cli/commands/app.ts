// `docker skein app …`: applications, which a Git push builds and rolls out.

import { type Reached, reachCluster } from "../cluster.ts";
import { Complaint } from "../complaint.ts";
import { type Terminal, table } from "../terminal.ts";
import type { Command, Given } from "./command.ts";

interface Shown {
	readonly id: string;
	readonly version: number;
	readonly spec: { readonly name: string; readonly repository: string };
	readonly webhook: string;
	readonly webhookSecret?: string;
	/** Null where none is told how deployments go; absent from control planes that tell none. */
	readonly forge?: { readonly error: string } | null;
	readonly environments: readonly {
		readonly name: string;
		readonly service: string;
		readonly deployment: Deployment | null;
	}[];
}

interface Deployment {
	readonly number: number;
	readonly environment: string;
	readonly cause: { readonly kind: string };
	readonly commit: string;
	readonly message: string;
	readonly author: string;
	readonly phase: string;
	readonly outcome: string | null;
	readonly reason: string;
	readonly lines: readonly string[];
	readonly image: string;
	readonly times: readonly { readonly phase: string; readonly at: string }[];
}

const text = { type: "string" } as const;
const several = { type: "string", multiple: true } as const;
const flag = { type: "boolean" } as const;

export const appCreate: Command = {
	usage: "app create NAME --repository URL [OPTIONS], or app create --file FILE",
	summary: "Make an application of a repository",
	help: `A push to its branch is built by one of the cluster's nodes and becomes a service. What comes out is the address and the
secret of its webhook, which the repository's forge wants to know; the secret is shown this once.

Options:
  --repository URL       https://…, ssh://… or git@host:path
  --branch NAME          pushes of which are deployed (main)
  --context PATH         of the build, in the repository (.)
  --dockerfile PATH      in that (Dockerfile)
  --target STAGE         of a Dockerfile with several
  --compose FILE         in the repository, in place of all that: the services that it has, as one stack
  --build-arg NAME=VALUE
  --platform linux/ARCH  that images are made for, may be said again; those of the nodes that may run them
  --service NAME         the service that it becomes (the application's name); one that is there keeps all but its image.
                         With --compose the stack's name
  --replicas N           of a service that is made (1)
  --publish PORT:PORT    of a service that is made
  --network NAME         of a service that is made
  --env NAME=VALUE       set in the service; with --compose what \${NAME} stands for
  --before "COMMAND …"   run with the new image before anything changes: migrations
  --url URL              where people find it, for its forge to show; {port}, {branch}, {commit} in it are filled in
  --before-service NAME  with --compose: whose image that is
  --login USER           for a private repository over https; the password or token is read from standard input
  --registry NAME        images are pushed there and pulled from there: registry.example.org/team/web; else the nodes keep them
  --registry-username USER   at that registry; the password is asked for, or read from standard input
  --registry-password FILE   else from a file; - is standard input
  --forge-token FILE     a token of the repository's forge, which then is told how deployments go; - is standard input
  --forge KIND           which forge that is: github, gitlab, gitea (Forgejo too), bitbucket; the well-known need not be named
  --file FILE            all of that and more as JSON, as docs/applications.md has it`,
	options: {
		repository: text,
		branch: text,
		context: text,
		dockerfile: text,
		target: text,
		compose: text,
		"build-arg": several,
		platform: several,
		service: text,
		replicas: text,
		publish: several,
		network: several,
		env: several,
		before: text,
		"before-service": text,
		login: text,
		registry: text,
		"registry-username": text,
		"registry-password": text,
		url: text,
		"forge-token": text,
		forge: text,
		file: text,
	},
	words: [0, 1],
	async run(terminal, [name], options) {
		const body =
			typeof options["file"] === "string"
				? await readFile(options["file"])
				: { spec: specOf(name, options), secrets: await secretsOf(terminal, options) };
		const cluster = await reachCluster(terminal);
		const made = await cluster.ask<Shown>("POST", "/api/applications", body);
		terminal.say(
			`${made.spec.name} is made. Tell its repository's forge, or a hook (docs/webhooks.md):`,
		);
		terminal.say(`  address   ${made.webhook}`);
		terminal.say(`  secret    ${made.webhookSecret ?? ""}`);
		terminal.say(`Or deploy by hand: docker skein app deploy ${made.spec.name}`);
	},
};

async function readFile(path: string): Promise<unknown> {
	const file = Bun.file(path);
	if (!(await file.exists())) throw new Complaint(`--file: there is no file ${path}`);
	try {
		return JSON.parse(await file.text());
	} catch (cause) {
		throw new Complaint(`--file: ${path} is no JSON`, { cause });
	}
}

function specOf(name: string | undefined, options: Given) {
	const { repository } = options;
	if (name === undefined) throw new Complaint("name the application");
	if (typeof repository !== "string") throw new Complaint("--repository: say where its code is");
	const { context, dockerfile, target, compose, service, before, registry } = options;
	refuseBeside(options);
	const networks = listOf(options["network"]);
	const ports = listOf(options["publish"]);
	const platforms = listOf(options["platform"]);
	return {
		name,
		repository,
		...(typeof registry === "string" && { registry }),
		...(typeof options["forge"] === "string" && { forge: { kind: options["forge"] } }),
		build: {
			...(typeof context === "string" && { context }),
			...(typeof dockerfile === "string" && { dockerfile }),
			...(typeof target === "string" && { target }),
			...(typeof compose === "string" && { compose }),
			...(platforms.length > 0 && { platforms }),
			args: pairs("--build-arg", listOf(options["build-arg"])),
		},
		environments: [
			{
				name: "production",
				branches: [typeof options["branch"] === "string" ? options["branch"] : "main"],
				...(typeof service === "string" && { service }),
				...(typeof compose !== "string" && {
					create: {
						Mode: { Replicated: { Replicas: countOf(options["replicas"]) } },
						TaskTemplate: {
							ContainerSpec: {},
							...(networks.length > 0 && { Networks: networks.map((Target) => ({ Target })) }),
						},
						...(ports.length > 0 && { EndpointSpec: { Ports: ports.map(portOf) } }),
					},
				}),
				variables: pairs("--env", listOf(options["env"])),
				...(typeof options["url"] === "string" && { url: options["url"] }),
				...(typeof before === "string" && { before: ["sh", "-c", before] }),
				...(typeof options["before-service"] === "string" && {
					beforeService: options["before-service"],
				}),
			},
		],
	};
}

/** Each has its place in a compose file. */
const saidThere = [
	"context",
	"dockerfile",
	"target",
	"build-arg",
	"replicas",
	"publish",
	"network",
] as const;

function refuseBeside(options: Given): void {
	if (options["compose"] === undefined) return;
	const said = saidThere.find((name) => options[name] !== undefined);
	if (said) throw new Complaint(`--${said}: the compose file says that: leave it out`);
}

const listOf = (given: Given[string]): readonly string[] =>
	typeof given === "object" ? given : [];

function countOf(given: Given[string]): number {
	const count = Number(given ?? 1);
	if (Number.isInteger(count) && count >= 0) return count;
	throw new Complaint(`--replicas: ${given} is no count`);
}

function portOf(given: string) {
	const [, published, target, protocol = "tcp"] =
		/^(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/.exec(given) ?? [];
	if (!published) throw new Complaint(`--publish: ${given} is not PUBLISHED:TARGET[/udp]`);
	return {
		Protocol: protocol,
		PublishedPort: Number(published),
		TargetPort: Number(target),
		PublishMode: "ingress",
	};
}

function pairs(option: string, given: readonly string[]): Record<string, string> {
	return Object.fromEntries(
		given.map((each) => {
			const at = each.indexOf("=");
			if (at < 1) throw new Complaint(`${option}: ${each} is not NAME=VALUE`);
			return [each.slice(0, at), each.slice(at + 1)];
		}),
	);
}

async function secretsOf(terminal: Terminal, options: Given) {
	const { login: user, "forge-token": from } = options;
	const registry = registryLogin(options);
	if (typeof user === "string" && from === "-") {
		throw new Complaint(
			"--forge-token: standard input has the login's password: name a file, or set it later (docker skein app secret NAME forge)",
		);
	}
	if (registry?.from === "-" && (typeof user === "string" || from === "-")) {
		throw new Complaint(
			`--registry-password: standard input has another secret: name a file, or set it later (docker skein app secret NAME registries.${registry.host} --user ${registry.username})`,
		);
	}
	return {
		...(typeof user === "string" && {
			login: { user, password: await secretOf(terminal, `Password or token of ${user}`) },
		}),
		...(typeof from === "string" && {
			forge: { token: await secretFrom(terminal, "--forge-token", from, "The forge's token") },
		}),
		...(registry && {
			registries: { [registry.host]: await registryPassword(terminal, registry) },
		}),
	};
}

interface RegistryLogin {
	readonly host: string;
	readonly username: string;
	readonly from: string;
}

function registryLogin(options: Given): RegistryLogin | undefined {
	const { registry, "registry-username": username, "registry-password": from = "-" } = options;
	if (username === undefined && options["registry-password"] === undefined) return undefined;
	if (typeof registry !== "string" || typeof username !== "string") {
		throw new Complaint("--registry-username: it goes with --registry, and a password with both");
	}
	return { host: registry.split("/")[0] ?? "", username, from: String(from) };
}

async function registryPassword(terminal: Terminal, { host, username, from }: RegistryLogin) {
	const what = `Password of ${username} at ${host}`;
	return { username, password: await secretFrom(terminal, "--registry-password", from, what) };
}

async function secretFrom(terminal: Terminal, option: string, from: string, what: string) {
	if (from === "-") return secretOf(terminal, what);
	const file = Bun.file(from);
	if (!(await file.exists())) throw new Complaint(`${option}: there is no file ${from}`);
	return (await file.text()).trim();
}

async function secretOf(terminal: Terminal, what: string): Promise<string> {
	if (terminal.isAsking) return terminal.askSecret(`${what}: `);
	return (await terminal.read()).replace(/\r?\n$/, "");
}

export const appList: Command = {
	usage: "app ls",
	summary: "List the applications",
	help: "",
	options: {},
	words: [0, 0],
	async run(terminal) {
		const cluster = await reachCluster(terminal);
		const all = await cluster.ask<readonly Shown[]>("GET", "/api/applications");
		const rows = all.flatMap(({ spec, environments }) =>
			environments.map(({ name, service, deployment }) => [
				spec.name,
				name,
				service,
				deployment ? `#${deployment.number} ${stateOf(deployment)}` : "-",
				deployment?.commit.slice(0, 12) ?? "-",
			]),
		);
		const head = ["APPLICATION", "ENVIRONMENT", "SERVICE", "DEPLOYMENT", "COMMIT"];
		for (const line of table([head, ...rows])) terminal.say(line);
		for (const { spec, forge } of all) {
			if (forge?.error) terminal.warn(`${spec.name}: its forge is not told: ${forge.error}`);
		}
	},
};

const stateOf = ({ outcome, phase }: Deployment) => outcome ?? phase;

export const appInspect: Command = {
	usage: "app inspect NAME",
	summary: "Show all that is known of an application, as JSON",
	help: "",
	options: {},
	words: [1, 1],
	async run(terminal, [name = ""]) {
		const cluster = await reachCluster(terminal);
		terminal.say(JSON.stringify(await cluster.ask("GET", pathOf(name)), null, 2));
	},
};

export const appDeployments: Command = {
	usage: "app ps NAME",
	summary: "List an application's deployments, the newest first",
	help: "",
	options: {},
	words: [1, 1],
	async run(terminal, [name = ""]) {
		const cluster = await reachCluster(terminal);
		const all = await cluster.ask<readonly Deployment[]>("GET", `${pathOf(name)}/deployments`);
		const rows = all.map((each) => [
			`#${each.number}`,
			each.environment,
			each.commit.slice(0, 12),
			each.cause.kind,
			stateOf(each),
			secondsOf(each),
			(each.reason || each.message).split("\n")[0] ?? "",
		]);
		const head = ["NUMBER", "ENVIRONMENT", "COMMIT", "CAUSE", "STATE", "TOOK", "WHAT"];
		for (const line of table([head, ...rows])) terminal.say(line);
	},
};

function secondsOf({ times, outcome }: Deployment): string {
	const [first] = times;
	const last = times.at(-1);
	if (!first || !last || outcome === null) return "-";
	return `${((Date.parse(last.at) - Date.parse(first.at)) / 1000).toFixed(1)} s`;
}

export const appLogs: Command = {
	usage: "app logs NAME [NUMBER]",
	summary: "Show what a deployment's build prints, as it goes on; the newest unless told",
	help: "",
	options: {},
	words: [1, 2],
	async run(terminal, [name = "", number]) {
		const cluster = await reachCluster(terminal);
		const which = number?.replace(/^#/, "") ?? (await newest(cluster, name)).number;
		await terminal.write(await cluster.read(`${pathOf(name)}/deployments/${which}/log`));
	},
};

async function newest(cluster: Reached, name: string): Promise<Deployment> {
	const [first] = await cluster.ask<readonly Deployment[]>("GET", `${pathOf(name)}/deployments`);
	if (first) return first;
	throw new Complaint(`${name} was never deployed`);
}

const environmentOption = { environment: { ...text, short: "e" }, detach: { ...flag, short: "d" } };
const environmentHelp = `  -e, --environment NAME   (production)
  -d, --detach             do not wait for its end`;

export const appDeploy: Command = {
	usage: "app deploy NAME [--ref REF] [--environment NAME]",
	summary: "Deploy a branch, a tag or a commit by hand",
	help: `Waits for the end, and fails where the deployment does.

Options:
  --ref REF                a branch, a tag or a whole commit; the environment's branch unless told
${environmentHelp}`,
	options: { ref: text, ...environmentOption },
	words: [1, 1],
	run: (terminal, [name = ""], options) =>
		deploy(terminal, name, options, {
			...(typeof options["ref"] === "string" && { ref: options["ref"] }),
		}),
};

export const appRollback: Command = {
	usage: "app rollback NAME [NUMBER] [--environment NAME]",
	summary: "Make the service exactly what an earlier deployment made it",
	help: `The one before the last that succeeded, unless told.

Options:
${environmentHelp}`,
	options: environmentOption,
	words: [1, 2],
	async run(terminal, [name = "", number], options) {
		const cluster = await reachCluster(terminal);
		const environment = String(options["environment"] ?? "production");
		const to = number === undefined ? await before(cluster, name, environment) : numberOf(number);
		await deploy(terminal, name, options, { rollback: to });
	},
};

async function before(cluster: Reached, name: string, environment: string): Promise<number> {
	const query = `environment=${encodeURIComponent(environment)}`;
	const all = await cluster.ask<readonly Deployment[]>(
		"GET",
		`${pathOf(name)}/deployments?${query}`,
	);
	const [, previous] = all.filter(({ outcome }) => outcome === "succeeded");
	if (previous) return previous.number;
	throw new Complaint(`there is no earlier deployment of ${name} to ${environment} that succeeded`);
}

export const appPromote: Command = {
	usage: "app promote NAME NUMBER --environment NAME",
	summary: "Deploy the image of another environment's deployment, the very same bytes",
	help: `Options:\n${environmentHelp}`,
	options: environmentOption,
	words: [2, 2],
	run: (terminal, [name = "", number = ""], options) =>
		deploy(terminal, name, options, { promote: numberOf(number) }),
};

function numberOf(given: string): number {
	const number = Number(given.replace(/^#/, ""));
	if (Number.isInteger(number) && number > 0) return number;
	throw new Complaint(`${given} is no deployment's number: docker skein app ps lists them`);
}

const askAgainMs = 500;

async function deploy(terminal: Terminal, name: string, options: Given, asked: object) {
	const cluster = await reachCluster(terminal);
	const { environment } = options;
	let now = await cluster.ask<Deployment>("POST", `${pathOf(name)}/deployments`, {
		...asked,
		...(typeof environment === "string" && { environment }),
	});
	terminal.say(`#${now.number} ${now.commit.slice(0, 12)} to ${now.environment}`);
	if (options["detach"]) return;
	let said = "";
	while (now.outcome === null) {
		const line = now.reason ? `${now.phase}: ${now.reason}` : now.phase;
		if (line !== said) terminal.say(line);
		said = line;
		await Bun.sleep(askAgainMs);
		now = await cluster.ask<Deployment>("GET", `${pathOf(name)}/deployments/${now.number}`);
	}
	for (const line of now.lines) terminal.warn(`  ${line}`);
	if (now.outcome !== "succeeded" && now.outcome !== "unchanged") {
		throw new Complaint(`#${now.number} ${now.outcome}${now.reason && `: ${now.reason}`}`);
	}
	terminal.say(`${now.outcome} after ${secondsOf(now)}`);
}

export const appCancel: Command = {
	usage: "app cancel NAME NUMBER",
	summary: "End a deployment that does not roll yet",
	help: "",
	options: {},
	words: [2, 2],
	async run(terminal, [name = "", number = ""]) {
		const cluster = await reachCluster(terminal);
		await cluster.ask("POST", `${pathOf(name)}/deployments/${numberOf(number)}/cancel`);
	},
};

export const appRemove: Command = {
	usage: "app rm NAME",
	summary: "Forget an application; its services go on running",
	help: "",
	options: {},
	words: [1, 1],
	async run(terminal, [name = ""]) {
		await (await reachCluster(terminal)).ask("DELETE", pathOf(name));
	},
};

interface Delivery {
	readonly key: string;
	readonly forge: string;
	readonly name: string;
	readonly at: string;
	readonly outcome: readonly string[] | null;
}

export const appDeliveries: Command = {
	usage: "app deliveries NAME [--replay KEY]",
	summary: "List what the forge told, and what became of it",
	help: "Options:\n  --replay KEY   handle one once more",
	options: { replay: text },
	words: [1, 1],
	async run(terminal, [name = ""], { replay }) {
		const cluster = await reachCluster(terminal);
		if (typeof replay === "string") {
			const path = `${pathOf(name)}/deliveries/${encodeURIComponent(replay)}/replay`;
			const { outcome } = await cluster.ask<{ outcome: readonly string[] }>("POST", path);
			for (const line of outcome) terminal.say(line);
			return;
		}
		const all = await cluster.ask<readonly Delivery[]>("GET", `${pathOf(name)}/deliveries`);
		const rows = all.flatMap(({ at, forge, key, outcome }) =>
			(outcome ?? ["waits to be handled"]).map((line) => [at, forge, key.slice(0, 24), line]),
		);
		for (const line of table([["AT", "FORGE", "KEY", "OUTCOME"], ...rows])) terminal.say(line);
	},
};

export const appSecret: Command = {
	usage: "app secret NAME build.KEY|webhook|login|forge|registries.HOST [--user USER] [--remove]",
	summary: "Set one of an application's secrets, read from standard input",
	help: `Options:
  --user USER   whose password it is, for login and registries.HOST; for forge where the token goes with a user (Bitbucket's API tokens)
  --remove      take it away`,
	options: { user: text, remove: flag },
	words: [2, 2],
	async run(terminal, [name = "", key = ""], { user, remove }) {
		const value = remove ? null : await secretOf(terminal, key);
		const cluster = await reachCluster(terminal);
		await cluster.ask("PUT", `${pathOf(name)}/secrets`, secretChange(key, value, user));
	},
};

function secretChange(key: string, value: string | null, user: Given[string]) {
	if (key.startsWith("build.")) return { build: { [key.slice("build.".length)]: value } };
	if (key === "webhook" && value !== null) return { webhook: [value] };
	if (key === "forge" && value === null) return { forge: null };
	if (key === "forge")
		return { forge: { token: value, ...(typeof user === "string" && { user }) } };
	if (key.startsWith("registries.") && (value === null || typeof user === "string")) {
		const host = key.slice("registries.".length);
		return { registries: { [host]: value === null ? null : { username: user, password: value } } };
	}
	if (key === "login" && value === null) return { login: null };
	if (key === "login" && typeof user === "string") return { login: { user, password: value } };
	throw new Complaint(
		key === "login" || key.startsWith("registries.")
			? "--user: say whose password it is"
			: `${key} is none of build.NAME, webhook, login, forge and registries.HOST`,
	);
}

const pathOf = (name: string) => `/api/applications/${encodeURIComponent(name)}`;
