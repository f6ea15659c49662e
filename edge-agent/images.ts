// Images that tasks needed and need no more: removed, the longest unused first, once the engine's disk runs full.
//
// Only what this agent pulled is ever removed, and only the very reference that it pulled: an image that somebody else
// loaded, tagged or runs a container of stays. Below the mark everything stays, so that a rollback finds its image here.

import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { ownImage } from "../model/image.ts";
import { type Docker, DockerError } from "./host/docker.ts";
import { readJson, writeDurably } from "./ledger.ts";
import { splitReference } from "./task/controller.ts";

/** When each was last seen to be needed, by the reference that was pulled. */
export type Pulled = Readonly<Record<string, number>>;

/** Percent of the disk: from here on images go, until no more than that is in use. As kubelet does. */
const highPercent = 85;
const lowPercent = 75;
/** Of each repository so many stay beside those in use: what a rollback asks for. */
const keptEarlier = 2;
const everyMs = 30_000;
/** That an image is still in use is written so often, and not with each look. */
const noteMs = 3_600_000;

/** What may go, the longest unused first. */
export function unneeded(pulled: Pulled, wanted: ReadonlySet<string>): string[] {
	const idle = Object.entries(pulled)
		.filter(([image]) => !wanted.has(image))
		.toSorted(([, a], [, b]) => b - a)
		.map(([image]) => image);
	const repositories = Map.groupBy(idle, (image) => splitReference(image).name);
	const kept = new Set(
		[...repositories.values()].flatMap((images) => images.slice(0, keptEarlier)),
	);
	return idle.filter((image) => !kept.has(image)).reverse();
}

export interface Images {
	/** What the node's tasks are made of, from now on. Before that is known nothing is removed. */
	want(images: ReadonlySet<string>): void;
	/** It was not here, and was pulled for a task. */
	pulled(image: string): void;
	/** Makes room where there is need. Not with every call, and never two at a time. Never rejects. */
	tend(docker: Docker): Promise<void>;
	/** At once, because a pull found none. False where nothing could be removed. */
	makeRoom(docker: Docker): Promise<boolean>;
	/** For the node's description: what is wrong with the disk, in words. */
	readonly warnings: readonly string[];
	/** Above the mark, and nothing is left to remove: new tasks are to go elsewhere. */
	readonly diskFull: boolean;
}

export async function openImages(
	dir: string,
	nowMs: () => number,
	usedPercent: (path: string) => Promise<number> = percentOfDisk,
): Promise<Images> {
	const file = join(dir, "images.json");
	let known: Pulled = (await readJson<Pulled>(file)) ?? {};
	let wanted: ReadonlySet<string> | undefined;
	let full: { readonly root: string; readonly percent: number } | undefined;
	let tendedMs = Number.NEGATIVE_INFINITY;
	let turn: Promise<unknown> = Promise.resolve();

	const keep = async (next: Pulled) => {
		known = next;
		// On a full disk it is not written, and what was pulled since stays for its owner to remove.
		await writeDurably(file, JSON.stringify(known)).catch(() => undefined);
	};
	const noteUsed = async () => {
		const used = Object.entries(known).filter(
			([image, usedMs]) => wanted?.has(image) && nowMs() - usedMs > noteMs,
		);
		if (used.length === 0) return;
		await keep({ ...known, ...Object.fromEntries(used.map(([image]) => [image, nowMs()])) });
	};
	/** Until no more than that is used. How many went. */
	const removeUntil = async (docker: Docker, root: string, percent: number) => {
		let count = 0;
		for (const image of wanted ? unneeded(known, wanted) : []) {
			if ((await usedPercent(root)) <= percent) break;
			if (!(await removeReference(docker, image))) continue;
			count++;
			const { [image]: _gone, ...rest } = known;
			await keep(rest);
		}
		return count;
	};
	const inTurn = <Result>(work: () => Promise<Result>): Promise<Result> => {
		const mine = turn.then(work);
		turn = mine.catch(() => undefined);
		return mine;
	};
	return {
		get warnings() {
			return full ? [fullDisk(full.root, full.percent)] : [];
		},
		get diskFull() {
			return full !== undefined;
		},
		want(images) {
			wanted = images;
		},
		pulled(image) {
			void inTurn(() => keep({ ...known, [image]: nowMs() }));
		},
		async tend(docker) {
			if (nowMs() - tendedMs < everyMs) return;
			tendedMs = nowMs();
			const tended = inTurn(async () => {
				await noteUsed();
				const root = await rootOf(docker);
				if ((await usedPercent(root)) >= highPercent) await removeUntil(docker, root, lowPercent);
				const percent = await usedPercent(root);
				full = percent < highPercent ? undefined : { root, percent };
			});
			await tended.catch(() => undefined);
		},
		makeRoom: (docker) =>
			inTurn(async () => (await removeUntil(docker, await rootOf(docker), lowPercent)) > 0),
	};
}

const fullDisk = (root: string, percent: number) =>
	`the disk of Docker's images (${root}) is ${Math.floor(percent)} % full, and no image of ours is left to remove: until there is room, tasks whose image is not here go elsewhere`;

async function rootOf(docker: Docker): Promise<string> {
	return (await docker.request<{ DockerRootDir: string }>("GET", "/info")).DockerRootDir;
}

/** As `df` reckons: what only root may still write does not count as free. */
async function percentOfDisk(path: string): Promise<number> {
	const { blocks, bfree, bavail } = await statfs(path);
	const used = blocks - bfree;
	return (100 * used) / Math.max(1, used + bavail);
}

/** False where the engine still needs it: somebody's container is made of it. */
async function removeReference(docker: Docker, image: string): Promise<boolean> {
	try {
		for (const reference of referencesOf(image)) {
			await docker.request("DELETE", `/images/${encodeURI(reference)}`).catch((error) => {
				if (!(error instanceof DockerError) || error.status !== 404) throw error;
			});
		}
		return true;
	} catch (error) {
		if (error instanceof DockerError) return false;
		throw error;
	}
}

/** One that was built here has a name to be seen by, and one that it was pulled by. */
function referencesOf(image: string): string[] {
	const own = ownImage(image);
	if (own) return [own.name, `${own.source}@${own.digest}`];
	const { name, tag } = splitReference(image);
	return [`${name}${tag.includes(":") ? "@" : ":"}${tag}`];
}
