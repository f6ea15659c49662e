// How a promise that does not hold is told.

export class Broken extends Error {
	override readonly name = "Broken";
}

export function broken(promise: string, what: string): never {
	throw new Broken(`${promise}: ${what}`);
}
