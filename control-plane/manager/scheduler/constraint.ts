// Placement constraints: `node.labels.zone==east`, read and tried on a node.
//
// The grammar and its error texts are Docker's, so that the Engine API can answer in the words people know. Values
// are compared whole and without regard to case; there is no globbing, although the grammar lets `*` through.

import { contains, parseAddress, parseRange } from "../../../model/cidr.ts";
import type { Node } from "../../../model/node.ts";

export interface Constraint {
	readonly kind: "constraint";
	/** As typed, label's case included. */
	readonly key: string;
	readonly operator: "==" | "!=";
	readonly value: string;
}

export interface Malformed {
	readonly kind: "malformed";
	readonly message: string;
}

const operators = ["==", "!="] as const;
const keyPattern = /^[a-z_][a-z0-9\-_.]+$/i;
/** Keeps out what may become an operator one day: `<`, `>`, `~`. */
const valuePattern = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i;

export function parseConstraint(text: string): Constraint | Malformed {
	const operator = operators.find((candidate) => text.includes(candidate));
	if (!operator) {
		return malformed(`constraint expected one operator from ${operators.join(", ")}`);
	}
	const at = text.indexOf(operator);
	const key = text.slice(0, at).trim();
	if (!keyPattern.test(key)) return malformed(`key '${key}' is invalid`);
	const value = text.slice(at + operator.length).trim();
	if (!valuePattern.test(value)) return malformed(`value '${value}' is invalid`);
	return { kind: "constraint", key, operator, value };
}

function malformed(message: string): Malformed {
	return { kind: "malformed", message };
}

/** A constraint on something we do not know is satisfied nowhere, whatever its operator: as in Docker. */
export function satisfies(node: Node, { key, operator, value }: Constraint): boolean {
	const equal = equals(node, key, value);
	return equal !== undefined && equal === (operator === "==");
}

/** Undefined when the question makes no sense. What a node lacks is the empty text. */
function equals(node: Node, key: string, value: string): boolean | undefined {
	const { description, spec } = node;
	const label = labelOf(node, key);
	if (label !== undefined) return same(label, value);
	switch (key.toLowerCase()) {
		case "node.id":
			return same(node.id, value);
		case "node.hostname":
			return same(description.hostname, value);
		case "node.role":
			return same(spec.role, value);
		case "node.platform.os":
			return same(description.os, value);
		case "node.platform.arch":
			return architectureOf(description.architecture) === architectureOf(value);
		case "node.ip":
			return isAt(description.addresses, value);
		default:
			return undefined;
	}
}

/**
 * What `node.labels.NAME` or `engine.labels.NAME` says on the node, empty where it says nothing; undefined for any
 * other key. Only the name is case-sensitive.
 */
export function labelOf({ spec, description }: Node, key: string): string | undefined {
	const [, whose = "", name = ""] = /^(node|engine)\.labels\.(.+)$/i.exec(key) ?? [];
	if (name === "") return undefined;
	const labels = whose.toLowerCase() === "node" ? spec.labels : description.engineLabels;
	return labels[name] ?? "";
}

const aliases: Readonly<Record<string, string>> = {
	x86_64: "amd64",
	aarch64: "arm64",
	armv7l: "arm",
};

/** Kernels and images name one processor differently; this is the images' name. */
export function architectureOf(name: string): string {
	const lower = name.toLowerCase();
	return aliases[lower] ?? lower;
}

function same(a: string, b: string): boolean {
	return a.toLowerCase() === b.toLowerCase();
}

/** Whether the machine has that address, or one in that range. A malformed one is no question. */
function isAt(addresses: readonly string[], value: string): boolean | undefined {
	if (value.includes("/")) {
		const range = parseRange(value);
		if (!range) return undefined;
		return addresses.map(parseAddress).some((one) => one !== undefined && contains(range, one));
	}
	if (parseAddress(value) === undefined && !value.includes(":")) return undefined;
	return addresses.some((address) => same(address, value));
}
