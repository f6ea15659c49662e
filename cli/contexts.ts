// Docker's contexts that lead to our local socket, by the docker CLI itself: it alone knows how it keeps them.

import { Complaint } from "./complaint.ts";
import type { Places } from "./logins.ts";

export interface Ran {
	readonly code: number;
	readonly stdout: string;
	readonly stderr: string;
}

export type Docker = (args: readonly string[]) => Promise<Ran>;

/** Docker keeps this name for what it does without any context. */
const reserved = "default";

export const contextOf = (cluster: string) => (cluster === reserved ? "skein" : cluster);

export function refuseName(name: string): void {
	if (name === reserved) {
		throw new Complaint(`docker keeps the name ${reserved} for itself: choose another with --name`);
	}
	if (!/^[a-zA-Z0-9][a-zA-Z0-9_.+-]{0,63}$/.test(name)) {
		throw new Complaint(
			`${name} is no name for a context: letters, digits and _.+- are, 64 at most`,
		);
	}
}

/** Made, or made to lead to our socket again. A context of the user's own is left alone. */
export async function putContext(
	docker: Docker,
	places: Places,
	name: string,
	description: string,
): Promise<"made" | "kept"> {
	const host = `unix://${places.socketOf(name)}`;
	const found = await hostOf(docker, name);
	if (found === host) return "kept";
	if (found !== undefined) {
		throw new Complaint(
			`there is a docker context ${name} already, which leads to ${found}: choose another name with --name, ` +
				`or remove that one: docker context rm ${name}`,
		);
	}
	const made = await docker([
		"context",
		"create",
		name,
		...["--description", description],
		...["--docker", `host=${host}`],
	]);
	if (made.code !== 0) {
		throw new Complaint(`docker context create ${name}: ${made.stderr.trim()}`);
	}
	return "made";
}

/** Only where it still leads to our socket. */
export async function removeContext(docker: Docker, places: Places, name: string): Promise<void> {
	if ((await hostOf(docker, name)) !== `unix://${places.socketOf(name)}`) return;
	const removed = await docker(["context", "rm", "--force", name]);
	if (removed.code !== 0) {
		throw new Complaint(`docker context rm ${name}: ${removed.stderr.trim()}`);
	}
}

async function hostOf(docker: Docker, name: string): Promise<string | undefined> {
	const format = "{{.Endpoints.docker.Host}}";
	const { code, stdout } = await docker(["context", "inspect", "--format", format, name]);
	return code === 0 ? stdout.trim() : undefined;
}
