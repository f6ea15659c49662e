// One process per embedded database, by a lock that ends with the process, however it ends.
//
// The lock is SQLite's own, on a file beside the database: held on the database itself it would outlive a connection
// that has to be replaced, since the old one lingers until it is collected.

import { Database } from "bun:sqlite";

/** Throws when another process has it. */
export function lockDatabase(path: string): void {
	const lock = new Database(`${path}.lock`);
	try {
		lock.run("pragma locking_mode = exclusive");
		lock.run("begin exclusive");
	} catch (error) {
		throw new Error(
			`${path} is in use by another control plane: end that one, or give this one a SKEIN_DATA of its own`,
			{ cause: error },
		);
	}
	held.add(lock);
}

/** Kept, because what nobody knows of is collected, and its lock with it. */
const held = new Set<Database>();
