// Says what must hold, and why. A broken invariant is our own mistake: it throws and nobody catches it to go on.

export function invariant(condition: unknown, reason: string): asserts condition {
	if (!condition) throw new Error(`broken invariant: ${reason}`);
}

/** The value, where its absence would be our own mistake. */
export function must<Value>(value: Value | null | undefined, reason: string): Value {
	invariant(value !== null && value !== undefined, reason);
	return value;
}
