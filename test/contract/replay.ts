// Recorded conversations between the docker CLI and dockerd, said again to our door.
//
// Ids are drawn anew and times differ, so both sides are put into one form before they are compared.

import { join } from "node:path";

export interface Exchange {
	readonly m: string;
	readonly u: string;
	readonly q?: unknown;
	readonly s: number;
	readonly r?: unknown;
}

export interface Scenario {
	readonly label: string;
	readonly x: readonly Exchange[];
}

export async function recorded(name: string): Promise<readonly Scenario[]> {
	return Bun.file(join(import.meta.dir, "recordings", `${name}.json`)).json();
}

/** Their ids and versions → ours, learned from answers to the same request. */
export class Rosetta {
	readonly #ids = new Map<string, string>();
	readonly #versions = new Map<string, number>();

	learn(theirs: unknown, ours: unknown): void {
		if (typeof theirs === "string" && typeof ours === "string") this.#learnId(theirs, ours);
		if (Array.isArray(theirs) && Array.isArray(ours)) {
			for (const each of theirs) {
				this.learn(
					each,
					ours.find((other) => nameOf(other) !== undefined && nameOf(other) === nameOf(each)),
				);
			}
		}
		if (!isRecord(theirs) || !isRecord(ours)) return;
		this.#learnId(theirs["ID"] ?? theirs["Id"], ours["ID"] ?? ours["Id"]);
		const [from, to] = [indexOf(theirs), indexOf(ours)];
		if (from === undefined || to === undefined) return;
		for (const name of [theirs["ID"], nameOf(theirs)]) this.#versions.set(`${name} ${from}`, to);
	}

	#learnId(theirs: unknown, ours: unknown): void {
		const isId = (text: unknown): text is string =>
			typeof text === "string" && /^[0-9a-z]{25}$/.test(text);
		if (isId(theirs) && isId(ours)) this.#ids.set(theirs, ours);
	}

	/** The same text, or the same data, with our ids in the place of theirs. */
	translate<Value>(value: Value): Value {
		let text = JSON.stringify(value);
		if (text === undefined) return value;
		for (const [theirs, ours] of this.#ids) text = text.replaceAll(theirs, ours);
		return JSON.parse(text);
	}

	/** The beginning of an id stands for the whole in paths. */
	#prefixes(url: string): string {
		return url.replace(/(?<=\/)[0-9a-z]{5,24}(?=$|[/?])/g, (short) => {
			const [, ours = short] = [...this.#ids].find(([theirs]) => theirs.startsWith(short)) ?? [];
			return ours.slice(0, short.length);
		});
	}

	/** A version that nobody showed is stale on purpose: it has to be refused here too. */
	url(url: string): string {
		const [, asked = ""] =
			/\/(?:services|nodes|secrets|configs)\/([^/?]+)\/update|\/(swarm)\/update/.exec(url) ?? [];
		const of = url.includes("/swarm/") ? "default" : asked;
		const versioned = url.replace(
			/([?&]version=)(\d+)/,
			(_all, name: string, version: string) =>
				`${name}${this.#versions.get(`${of} ${version}`) ?? 999_999}`,
		);
		return this.#prefixes(this.translate(versioned)).replace(
			/filters=([^&]*)/,
			(_all, filters: string) => `filters=${encodeURIComponent(filters)}`,
		);
	}
}

function nameOf(object: unknown): unknown {
	if (!isRecord(object)) return undefined;
	const { Spec: spec, Description: description } = object;
	if (isRecord(description)) return description["Hostname"];
	return isRecord(spec) ? spec["Name"] : object["Name"];
}

function indexOf(object: Record<string, unknown>): number | undefined {
	const version = object["Version"];
	return isRecord(version) && typeof version["Index"] === "number" ? version["Index"] : undefined;
}

/** Where two answers differ, as `path: theirs → ours`. Versions and times are anybody's. */
export function differences(theirs: unknown, ours: unknown, path = ""): string[] {
	if (
		/\.(Version\.Index|CreatedAt|UpdatedAt|Created|Timestamp|StartedAt|CompletedAt|LastExecution)$/.test(
			path,
		)
	) {
		return typeof theirs === typeof ours ? [] : [`${path}: ${show(theirs)} → ${show(ours)}`];
	}
	if (isRecord(theirs) && isRecord(ours)) {
		const keys = new Set([...Object.keys(theirs), ...Object.keys(ours)]);
		return [...keys].sort().flatMap((key) => differences(theirs[key], ours[key], `${path}.${key}`));
	}
	if (Array.isArray(theirs) && Array.isArray(ours)) {
		if (theirs.every(hasId) && ours.every(hasId)) return ofLists(theirs, ours, path);
		const length = Math.max(theirs.length, ours.length);
		return Array.from({ length }, (_, index) => index).flatMap((index) =>
			differences(theirs[index], ours[index], `${path}[${index}]`),
		);
	}
	return Object.is(theirs, ours) ? [] : [`${path}: ${show(theirs)} → ${show(ours)}`];
}

type Named = { readonly ID: string };
const hasId = (value: unknown): value is Named =>
	isRecord(value) && typeof value["ID"] === "string";

/** Lists are in order of names, and some names are drawn: what belongs together has one id. */
function ofLists(theirs: readonly Named[], ours: readonly Named[], path: string): string[] {
	const ids = new Set([...theirs, ...ours].map(({ ID }) => ID));
	const of = (list: readonly Named[], id: string) => list.find(({ ID }) => ID === id);
	return [...ids].flatMap((id, index) =>
		differences(of(theirs, id), of(ours, id), `${path}[${index}]`),
	);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
	typeof value === "object" && value !== null && !Array.isArray(value);

const show = (value: unknown) => JSON.stringify(value) ?? "absent";
