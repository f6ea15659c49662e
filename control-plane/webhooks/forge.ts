// What the door knows of a forge: whether a request comes from it, whether it is signed, and what it says.

import type { GitEvent } from "../../model/git.ts";

/** A request as it came. The body in bytes: signatures are of bytes, and a character more or less breaks them. */
export interface Delivery {
	readonly headers: Headers;
	readonly body: Uint8Array<ArrayBuffer>;
}

export interface Forge {
	/** As people know it: `GitHub`. */
	readonly name: string;
	recognizes(headers: Headers): boolean;
	/** Whether whoever sent it knows the secret. In constant time; a delivery without a signature is not signed. */
	verify(secret: string, delivery: Delivery): Promise<boolean>;
	/** By what id the forge's own pages name the delivery; empty where it has none. Seldom signed: see `delivery.ts`. */
	id(headers: Headers): string;
	/** The same, where the signature covers it. */
	signedId?(headers: Headers): string | null;
	/** One for each ref that was pushed. Throws `invalid`, naming the field, for what is not as the forge documents it. */
	events(delivery: Delivery): readonly GitEvent[];
}
