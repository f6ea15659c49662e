// Builds, and the images that come of them, as main.ts puts them together: what of them is on disk, and whom they ask.

import { join } from "node:path";
import { Builds, type RememberedBuilds } from "./build/builds.ts";
import { findBuilder } from "./build/image.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { Engine } from "./host/engine.ts";
import type { Exec } from "./host/exec.ts";
import type { Images } from "./images.ts";
import { readJson, writeDurably } from "./ledger.ts";
import { openSecrets } from "./mesh/secret.ts";
import { openImageKeeper } from "./registry/keeper.ts";

export interface BuildingWorld {
	/** The agent's own. */
	readonly dir: string;
	readonly socket: string;
	readonly publicKey: string;
	readonly exec: Exec;
	readonly engine: Engine;
	readonly images: Pick<Images, "pulled">;
	readonly dispatcher: Pick<Dispatcher, "buildSecrets" | "buildLog" | "buildStack">;
	sleep(ms: number): Promise<void>;
	log(line: string): void;
}

/** What makes images may be installed meanwhile: it is looked for so often. */
const builderMs = 60_000;

export async function openBuilding(world: BuildingWorld) {
	const { dir, exec, engine, log } = world;
	const registry = await openImageKeeper({
		dir: join(dir, "registry"),
		nowMs: Date.now,
		proofFor: await openSecrets(dir, world.publicKey, "images"),
		log,
	});
	const builder = remembering(() => findBuilder(exec), builderMs);
	const file = join(dir, "builds.json");
	let writing: Promise<unknown> = Promise.resolve();
	const builds = new Builds(
		{
			exec,
			dir: join(dir, "builds"),
			socket: world.socket,
			docker: engine.current,
			builder,
			registry,
			made: world.images.pulled,
			secrets: world.dispatcher.buildSecrets,
			sendLog: world.dispatcher.buildLog,
			sendStack: world.dispatcher.buildStack,
			save(remembered) {
				// On a full disk a build that ended is begun again after a restart, and no more than that.
				writing = writing
					.then(() => writeDurably(file, JSON.stringify(remembered)))
					.catch(() => undefined);
			},
			nowMs: Date.now,
			sleep: world.sleep,
		},
		(await readJson<RememberedBuilds>(file)) ?? {},
	);
	return { builds, registry, builder };
}

function remembering<Found>(find: () => Promise<Found>, forMs: number): () => Promise<Found> {
	let known: Promise<Found> | undefined;
	let askedMs = 0;
	return () => {
		if (known === undefined || Date.now() - askedMs > forMs) {
			askedMs = Date.now();
			known = find();
		}
		return known;
	};
}
