// How often whoever asks may ask: a bucket for each, which fills by the second and is emptied by requests.
//
// In this process's memory: several count each for themselves, and a restart forgets. That is enough against a client
// gone wild, and costs no read. Edge platforms have counters of their own (edge/throttle.ts).

export type Throttled =
	/** An address, whatever it asks for. */
	| "address"
	/** An address that signs in or up. */
	| "sign-in"
	/** A token, session or user. */
	| "actor"
	/** An address from which agents call: a whole site's may come back at once. */
	| "agent"
	/** Whoever has mail sent, or the address that it goes to. */
	| "mail";

/** @returns seconds until the next request may come; 0: this one may. */
export type Throttle = (what: Throttled, key: string) => number | Promise<number>;

export interface Rate {
	readonly perSecond: number;
	/** So many may come at once. */
	readonly burst: number;
}

/**
 * Above what the CLI, compose and a page that polls need; agents' for ten thousand behind one address, which ask 2 400
 * times a second where polls are held for four seconds.
 */
export const rates: Readonly<Record<Throttled, Rate>> = {
	address: { perSecond: 1_000, burst: 10_000 },
	"sign-in": { perSecond: 1 / 6, burst: 20 },
	actor: { perSecond: 500, burst: 5_000 },
	agent: { perSecond: 5_000, burst: 30_000 },
	mail: { perSecond: 1 / 300, burst: 10 },
};

interface Bucket {
	level: number;
	atMs: number;
}

/** Full buckets say nothing: when there are too many, all go, which lets everybody begin anew. */
const mostBuckets = 100_000;

/** Sixths of a request do not add up to one exactly. */
const rounding = 1e-6;

export function throttleInMemory(
	nowMs: () => number,
	limits: Readonly<Record<Throttled, Rate>> = rates,
): Throttle {
	const buckets = new Map<string, Bucket>();
	return (what, key) => {
		const { perSecond, burst } = limits[what];
		const name = `${what} ${key}`;
		const now = nowMs();
		if (buckets.size >= mostBuckets) buckets.clear();
		const bucket = buckets.get(name) ?? { level: burst, atMs: now };
		const filled = Math.min(
			burst,
			bucket.level + (perSecond * Math.max(0, now - bucket.atMs)) / 1000,
		);
		const isLet = filled > 1 - rounding;
		buckets.set(name, { level: isLet ? filled - 1 : filled, atMs: now });
		return isLet ? 0 : Math.ceil((1 - filled - rounding) / perSecond);
	};
}
