// How often whoever asks may ask, at the edge: by the platform's counters where `wrangler.toml` binds them, by this
// isolate's memory otherwise.

import { type Throttle, throttleInMemory } from "../accounts/throttle.ts";

interface Limiter {
	limit(asked: { readonly key: string }): Promise<{ readonly success: boolean }>;
}

export interface Limiters {
	readonly THROTTLE_ADDRESS?: Limiter;
	readonly THROTTLE_SIGN_IN?: Limiter;
	readonly THROTTLE_ACTOR?: Limiter;
	readonly THROTTLE_AGENT?: Limiter;
}

/** What the bindings count in: the platform does not say how much of it is left. */
const periodSeconds = 10;

const inMemory = throttleInMemory(Date.now);

export function edgeThrottle(limiters: Limiters): Throttle {
	return async (what, key) => {
		const limiter = {
			address: limiters.THROTTLE_ADDRESS,
			"sign-in": limiters.THROTTLE_SIGN_IN,
			actor: limiters.THROTTLE_ACTOR,
			agent: limiters.THROTTLE_AGENT,
			// The platform's count no longer than a minute.
			mail: undefined,
		}[what];
		if (!limiter) return inMemory(what, key);
		return (await limiter.limit({ key })).success ? 0 : periodSeconds;
	};
}
