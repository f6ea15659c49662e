// The code, checked as data: who imports whom, what the pure core may not say, how a file begins.

import { describe, expect, test } from "bun:test";
import { dirname, join, normalize } from "node:path";

const root = join(import.meta.dir, "..");
const files = [
	...new Bun.Glob("{model,control-plane,edge-agent,cli}/**/*.ts").scanSync(root),
].sort();
const text = new Map(
	await Promise.all(
		files.map(async (file) => [file, await Bun.file(join(root, file)).text()] as const),
	),
);
const sources = files.filter((file) => !/\.test\.ts$|\.test-data\.ts$/.test(file));

/** The parts of the house, innermost first: a file belongs to the first part whose prefix it has. */
const parts: readonly (readonly [prefix: string, part: string])[] = [
	["model/", "model"],
	["control-plane/manager/", "manager"],
	["control-plane/store/", "store"],
	["control-plane/accounts/", "accounts"],
	["control-plane/engine/", "engine"],
	["control-plane/dispatcher/", "dispatcher"],
	["control-plane/deployments/", "deployments"],
	["control-plane/forges/", "forges"],
	["control-plane/webhooks/router.ts", "control-plane"],
	["control-plane/webhooks/", "webhooks"],
	["control-plane/cluster.ts", "cluster"],
	["control-plane/operations/metrics.ts", "metrics"],
	["control-plane/reconcile.ts", "reconcile"],
	// Of certificates it has to know what the accounts do.
	["control-plane/connection/tls.ts", "control-plane"],
	["control-plane/connection/", "connection"],
	["control-plane/", "control-plane"],
	["edge-agent/host/", "host"],
	["edge-agent/task/", "task"],
	["edge-agent/build/", "build"],
	["edge-agent/registry/", "registry"],
	["edge-agent/mesh/", "mesh"],
	["edge-agent/vip/", "vip"],
	["edge-agent/dns/", "dns"],
	["edge-agent/", "edge-agent"],
	["cli/", "cli"],
];

const mayImport: Readonly<Record<string, readonly string[]>> = {
	model: ["model"],
	manager: ["manager", "model"],
	cluster: ["model"],
	metrics: [],
	store: ["store", "model", "cluster", "metrics"],
	accounts: ["accounts", "model", "store", "cluster"],
	reconcile: ["model", "manager", "store", "cluster", "metrics"],
	engine: ["engine", "model", "manager", "accounts", "cluster"],
	dispatcher: ["dispatcher", "model", "manager", "accounts", "cluster", "store", "deployments"],
	deployments: [
		"deployments",
		"forges",
		"webhooks",
		"model",
		"manager",
		"accounts",
		"engine",
		"cluster",
		"store",
		"control-plane",
	],
	forges: ["forges", "webhooks", "model", "accounts"],
	webhooks: ["webhooks", "model", "manager", "accounts", "cluster"],
	"control-plane": [
		"control-plane",
		"model",
		"manager",
		"store",
		"accounts",
		"engine",
		"dispatcher",
		"deployments",
		"forges",
		"webhooks",
		"cluster",
		"metrics",
		"reconcile",
		"connection",
	],
	connection: ["connection", "model"],
	host: ["host", "model"],
	task: ["task", "host", "model"],
	build: ["build", "host", "model"],
	registry: ["registry", "host", "model"],
	mesh: ["mesh", "host", "model"],
	vip: ["vip", "host", "model"],
	dns: ["dns", "host", "model"],
	// The local socket takes connections, and carries them, as the control plane does.
	cli: ["cli", "connection", "model"],
	"edge-agent": ["edge-agent", "host", "task", "build", "registry", "mesh", "vip", "dns", "model"],
};

const partOf = (file: string) => parts.find(([prefix]) => file.startsWith(prefix))?.[1] ?? "";

function importsOf(file: string): string[] {
	const found = (text.get(file) ?? "").matchAll(/^(?:import|export)\b[^;]*?from "(\.[^"]+)"/gms);
	return [...found].map(([, path = ""]) => normalize(join(dirname(file), path)));
}

describe("who imports whom", () => {
	test.each(sources)("%s", (file) => {
		const allowed = mayImport[partOf(file)] ?? [];
		const strays = importsOf(file)
			.filter((path) => /^(model|control-plane|edge-agent|cli)\/.*\.ts$/.test(path))
			.filter((path) => !allowed.includes(partOf(path)));
		expect(strays).toEqual([]);
	});
});

const core = /^model\/|^control-plane\/manager\//;

/** What must not be said where, and what to say instead. */
const bans: readonly (readonly [name: string, where: RegExp, what: RegExp])[] = [
	[
		"the core has no clock: time comes in a Moment",
		core,
		/\bDate\.now\(|\bnew Date\(\)|performance\.now/,
	],
	["the core rolls no dice: ids come in a Moment", core, /\bMath\.random|crypto\./],
	[
		"no interactive transactions: one read batch, one write batch",
		/^control-plane\//,
		/\.transaction\(/,
	],
	[
		"drizzle's own batch is BEGIN DEFERRED: store/client.ts has the write batch",
		/^control-plane\//,
		/\bdb\.batch\(/,
	],
	["zx has one importer: ask for an Exec", /^(?!edge-agent\/host\/exec\.ts)/, /from "zx"/],
	["a silenced type hides a bug", /./, /@ts-ignore|@ts-nocheck/],
	["names for a drawer of everything", /(^|\/)(utils?|helpers?|common|misc)(\.ts|\/)/, /(?:)/],
];

describe("what must not be said", () => {
	test.each(bans)("%s", (_name, where, what) => {
		const found = sources.filter((file) => where.test(file) && what.test(text.get(file) ?? ""));
		expect(found).toEqual([]);
	});
});

test("a file opens with what it is for", () => {
	const silent = sources.filter((file) => !/^(#!.*\n)?(\/\/|\/\*)/.test(text.get(file) ?? ""));
	expect(silent).toEqual([]);
});

test("nothing of the edge's program needs Bun or Node", async () => {
	const seen = new Set<string>();
	const queue = ["control-plane/worker.ts"];
	for (let file = queue.pop(); file; file = queue.pop()) {
		if (seen.has(file) || !text.has(file)) continue;
		seen.add(file);
		queue.push(...importsOf(file));
	}
	const strays = [...seen].filter((file) => /\bBun\.|from "(node|bun):/.test(text.get(file) ?? ""));
	expect(strays).toEqual([]);
});
