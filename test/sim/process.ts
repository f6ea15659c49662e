// A program that runs until it is killed, at whatever it waits for: its timers and the answers that it waits for die
// with it, what it has asked of others goes on.

import { Broken } from "./broken.ts";
import type { Clock } from "./clock.ts";

export interface Process {
	readonly startedMs: number;
	isAlive(): boolean;
	kill(): void;
	/** Called when it is killed: who talks to it notices. What it returns ends that. */
	onKill(notice: () => void): () => void;
	after(ms: number, event: () => void): () => void;
	/** The work happens elsewhere, this process there to see it or not; the answer comes only to the living. */
	ask<Answer>(thereMs: number, work: () => Answer, backMs: number): Promise<Answer>;
}

export function startProcess(clock: Clock): Process {
	let alive = true;
	const notices = new Set<() => void>();
	const after = (ms: number, event: () => void) =>
		clock.after(ms, () => {
			if (alive) event();
		});
	return {
		startedMs: clock.nowMs(),
		isAlive: () => alive,
		kill() {
			alive = false;
			for (const notice of [...notices]) notice();
		},
		onKill(notice) {
			notices.add(notice);
			return () => notices.delete(notice);
		},
		after,
		ask: (thereMs, work, backMs) =>
			new Promise((resolve, reject) => {
				clock.after(thereMs, () => {
					try {
						const answer = work();
						after(backMs, () => resolve(answer));
					} catch (error) {
						// A broken promise of ours is no answer of theirs.
						if (error instanceof Broken) throw error;
						after(backMs, () => reject(error));
					}
				});
			}),
	};
}
