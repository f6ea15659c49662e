// `?filters={…}`, as the CLI and the SDKs send it: `{"k":{"v":true}}` or `{"k":["v"]}`.
//
// Values of one key are alternatives, keys must all hold; labels must all hold too. `name` is a prefix: the CLI checks
// again by itself.

import { invalid } from "../../model/errors.ts";
import { parseJson } from "./body.ts";

export type Filters = ReadonlyMap<string, readonly string[]>;

export function parseFilters(text: string | undefined, known: readonly string[]): Filters {
	if (text === undefined || text === "") return new Map();
	const parsed = parseJson(text);
	if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
		throw invalid("json: cannot unmarshal filters: an object of keys is expected");
	}
	const entries = Object.entries(parsed).map(([key, values]) => {
		if (!known.includes(key)) throw invalid(`Invalid filter '${key}'`);
		return [key, valuesOf(key, values)] as const;
	});
	return new Map(entries.filter(([, values]) => values.length > 0));
}

function valuesOf(key: string, values: unknown): string[] {
	if (Array.isArray(values)) return values.map(String);
	if (typeof values === "object" && values !== null) {
		return Object.entries(values).flatMap(([value, on]) => (on === true ? [value] : []));
	}
	throw invalid(`json: cannot unmarshal filter '${key}': a list or a map of values is expected`);
}

/** No filter of that key, or one of its values is so. */
export function anyOf(filters: Filters, key: string, so: (value: string) => boolean): boolean {
	return filters.get(key)?.some(so) ?? true;
}

export function namePrefix(filters: Filters, name: string, key = "name"): boolean {
	return anyOf(filters, key, (prefix) => name.startsWith(prefix));
}

export function idPrefix(filters: Filters, id: string): boolean {
	return anyOf(filters, "id", (prefix) => id.startsWith(prefix));
}

/** Every label asked for is there: `key`, or `key=value`. */
export function hasLabels(
	filters: Filters,
	labels: Readonly<Record<string, string>>,
	key = "label",
): boolean {
	return (filters.get(key) ?? []).every((asked) => {
		const at = asked.indexOf("=");
		if (at < 0) return labels[asked] !== undefined;
		return labels[asked.slice(0, at)] === asked.slice(at + 1);
	});
}

/** `1`, `t` and `true` in the cases that Go reads; anything else, and absence, is no. */
export function isTrue(text: string | undefined): boolean {
	return text !== undefined && ["1", "t", "T", "true", "True", "TRUE"].includes(text);
}
