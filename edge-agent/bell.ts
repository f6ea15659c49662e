// Waiting: for a bell that remembers having been rung (many rings before somebody listens are one), or for time to pass.

export interface Bell {
	ring(): void;
	/** What was rung so far is being seen to. */
	hush(): void;
	/** Until it rings, or has rung since the last wait; or the time is over, or the signal comes. Never rejects. */
	wait(timeoutMs: number, signal: AbortSignal): Promise<void>;
}

export function bell(): Bell {
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
					const timer = Number.isFinite(timeoutMs) ? setTimeout(done, timeoutMs) : undefined;
					function done() {
						clearTimeout(timer);
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
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
	return bell().wait(ms, signal);
}
