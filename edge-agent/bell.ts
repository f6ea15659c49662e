// A bell that remembers having been rung: many rings before somebody listens are one.

export interface Bell {
	ring(): void;
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
