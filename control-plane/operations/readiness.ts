// Whether this control plane can do its work: asked by whoever sends it traffic, many times a minute, so looked at once a
// second at most.

import type { HostedClusters } from "../clusters.ts";
import type { Database } from "../store/client.ts";
import { missingMigrations } from "../store/migrate.ts";
import type { Shards } from "../store/shards.ts";

export interface Readiness {
	readonly ready: boolean;
	/** What is wrong, part by part; `ok` where nothing is. */
	readonly checks: Readonly<Record<"database" | "migrations" | "shards" | "planner", string>>;
}

const cachedMs = 1_000;
const patienceMs = 5_000;
/** A plan takes milliseconds; a refused one is tried again every second. */
const stuckMs = 30_000;

export type Ready = () => Promise<Readiness>;

/** Where clusters may lie, besides the directory. */
type Looked = Pick<Shards, "names" | "all" | "open">;

export function readinessOf(
	directory: Database,
	shards: Looked,
	hosted: Pick<HostedClusters, "open">,
	nowMs: () => number,
): Ready {
	let known: { readonly atMs: number; readonly found: Promise<Readiness> } | undefined;
	return () => {
		if (known && nowMs() - known.atMs < cachedMs) return known.found;
		known = { atMs: nowMs(), found: look(directory, shards, hosted, nowMs()) };
		return known.found;
	};
}

async function look(
	directory: Database,
	shards: Looked,
	hosted: Pick<HostedClusters, "open">,
	nowMs: number,
): Promise<Readiness> {
	const [stored, lain, planner] = await Promise.all([
		directoryChecks(directory),
		Promise.all(shards.all.map((name) => shardCheck(name, directory, shards))),
		plannerCheck(hosted, nowMs),
	]);
	const away = lain.filter(({ trouble }) => trouble !== undefined);
	const troubles = away.map(({ name, trouble }) => `${name} ${trouble}`);
	const checks = { ...stored, shards: troubles.join("; ") || "ok", planner };
	// What lies on one shard is no reason to take the control plane away from what lies on others.
	const isOneThere = shards.names.some((name) => !away.some((each) => each.name === name));
	const { shards: _said, ...others } = checks;
	return { ready: isOneThere && Object.values(others).every((each) => each === "ok"), checks };
}

async function directoryChecks(directory: Database) {
	const missing = await withinPatience(missingMigrations(directory));
	if (typeof missing === "string") return { database: missing, migrations: "unknown" };
	const migrations = missing.length === 0 ? "ok" : `not applied: ${missing.join(", ")}`;
	return { database: "ok", migrations };
}

async function shardCheck(name: string, directory: Database, shards: Looked) {
	const trouble = await withinPatience(
		shards.open(name).then(async (shard) => {
			// Looked at already.
			if (shard === directory) return undefined;
			const missing = await missingMigrations(shard);
			return missing.length === 0 ? undefined : `lacks ${missing.join(", ")}`;
		}),
	);
	return { name, trouble };
}

/** What is found, or what is wrong with who should have said it. */
function withinPatience<Found>(found: Promise<Found>): Promise<Found | string> {
	const late = Promise.withResolvers<string>();
	const timer = setTimeout(
		() => late.resolve(`no answer within ${patienceMs / 1000} s`),
		patienceMs,
	);
	return Promise.race([found, late.promise])
		.catch(() => "does not answer")
		.finally(() => clearTimeout(timer));
}

/** One tenant's cluster that cannot be planned is no reason to take the others' control plane away. */
async function plannerCheck(hosted: Pick<HostedClusters, "open">, nowMs: number): Promise<string> {
	const waiting = (await hosted.open()).flatMap((host) => host.waitingSinceMs() ?? []);
	const stuck = waiting.filter((sinceMs) => nowMs - sinceMs > stuckMs);
	if (stuck.length === 0 || stuck.length < waiting.length) return "ok";
	return `stuck for ${Math.round((nowMs - Math.min(...stuck)) / 1000)} s: see the log`;
}
