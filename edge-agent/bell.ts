// Waiting: for a bell that remembers having been rung (many rings before somebody listens are one), or for time to pass.

export interface Bell {
	ring(): void;
	/** What was rung so far is being seen to. */
	hush(): void;
	/** Until it rings, or has rung since the last wait; or the time is over, or the signal comes. Never rejects. */
	wait(timeoutMs: number, signal: AbortSignal): Promise<void>;
}

/** Calls once, later; what it returns calls that off. */
export type After = (ms: number, event: () => void) => () => void;

export const after: After = (ms, event) => {
	const timer = setTimeout(event, ms);
	return () => clearTimeout(timer);
};

export function bell(later: After = after): Bell {
	let rung = false;
	let wake: (() => void) | undefined;
	return {
		ring() {
			rung = true;
			wake?.();
		},
		hush() {
			rung = false;
		},
		async wait(timeoutMs, signal) {
			if (!rung && !signal.aborted) {
				await new Promise<void>((resolve) => {
					const callOff = Number.isFinite(timeoutMs) ? later(timeoutMs, done) : undefined;
					function done() {
						callOff?.();
						signal.removeEventListener("abort", done);
						wake = undefined;
						resolve();
					}
					wake = done;
					signal.addEventListener("abort", done);
				});
			}
			rung = false;
		},
	};
}

/** Shorter if the signal comes. Never rejects. */
export function sleep(ms: number, signal: AbortSignal, later: After = after): Promise<void> {
	return bell(later).wait(ms, signal);
}
