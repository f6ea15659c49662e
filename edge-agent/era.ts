// Which life of the machine and its engine this is: containers that ended with an earlier one did not end by themselves.

import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** /run is emptied by every start of the machine, in virtual ones and namespaces too, which share a boot_id. */
const markFile = "/run/skein-agent/boot";
const enginePidFile = "/run/docker.pid";

/** `fresh`: the agent has not run since the machine was started. */
export function bootMark(path = markFile): { readonly mark: string; readonly fresh: boolean } {
	try {
		return { mark: readFileSync(path, "utf8"), fresh: false };
	} catch {
		const mark = randomUUID();
		mkdirSync(dirname(path), { recursive: true });
		writeFileSync(path, mark);
		return { mark, fresh: true };
	}
}

/** An engine with live-restore leaves its containers running when it ends; without, a new engine is a new era. */
export function eraOf(mark: string, liveRestore: boolean): string {
	return liveRestore ? mark : `${mark} ${engineStart()}`;
}

/** When the engine wrote down its pid: the same file for Docker's own packages and the distributions'. */
function engineStart(): string {
	try {
		return String(Math.trunc(statSync(enginePidFile).mtimeMs));
	} catch {
		return "";
	}
}
