// A place where the control plane runs, for transcripts that take turns. It is there twice, since docker waits more
// than it works: each started for its first transcript.

import { join } from "node:path";
import { forward } from "../../cli/forward.ts";
import { type Listener, listen } from "../../control-plane/connection/listen.ts";
import type { Runtime, runtimes } from "../runtimes.ts";

export interface Place {
	readonly name: string;
	/** Reached over the network alone. */
	readonly hosted: boolean;
	inTurn: InTurn;
	stop(): Promise<void>;
}

/** Once whoever came before is done. `afar` is the socket of somebody on another machine, signed in. */
type InTurn = <Result>(work: (at: Runtime, afar: string) => Promise<Result>) => Promise<Result>;

const settings = {
	// What people read is the same everywhere.
	SKEIN_URL: "http://192.0.2.1:8787",
	// A machine that only got no time to speak is not to be missed.
	SKEIN_NODE_TIMEOUT_MS: "6000",
};

type Start = (typeof runtimes)[number]["start"];

export function placeOf({ name, hosted, start }: (typeof runtimes)[number], folder: string): Place {
	const [one, other] = [queueAt(start, folder), queueAt(start, folder)];
	let isOnes = false;
	return {
		name,
		hosted,
		inTurn(work) {
			isOnes = !isOnes;
			return (isOnes ? one : other).inTurn(work);
		},
		async stop() {
			await Promise.all([one.stop(), other.stop()]);
		},
	};
}

function queueAt(start: Start, folder: string): Pick<Place, "inTurn" | "stop"> {
	const afar = join(folder, `${crypto.randomUUID()}.sock`);
	let started: Promise<{ readonly at: Runtime; readonly listener: Listener }> | undefined;
	let last: Promise<unknown> = Promise.resolve();

	async function open() {
		const at = await start(settings);
		const target = { endpoint: at.url, token: at.token, login: at.url };
		return {
			at,
			listener: await listen(
				{ path: afar },
				forward(() => target),
			),
		};
	}

	return {
		inTurn(work) {
			const mine = last.then(async () => {
				started ??= open();
				return work((await started).at, afar);
			});
			last = mine.catch(() => undefined);
			return mine;
		},
		async stop() {
			await last;
			const running = await started?.catch(() => undefined);
			await running?.listener.stop();
			await running?.at.stop();
		},
	};
}
