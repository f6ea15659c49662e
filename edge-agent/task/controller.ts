// What can be done for one task's container: look at it, prepare, start, stop and remove it.
//
// Each may be called again after any failure. Refusals of the engine are outcomes in Docker's own words, whole; an
// engine that does not answer throws, and the caller tries again when it does.

import type { TaskAssignment } from "../../model/assignment.ts";
import type { TaskId } from "../../model/id.ts";
import { ownImage, registryOf } from "../../model/image.ts";
import type { PortSpec, Protocol } from "../../model/service.ts";
import type { Health } from "../../model/task.ts";
import { type Docker, DockerError, lines } from "../host/docker.ts";
import { ContainerError, creationOf, type Site, stopSeconds } from "./container.ts";
import type { Seen } from "./step.ts";

export type Outcome =
	| { readonly kind: "done" }
	| { readonly kind: "created"; readonly containerId: string }
	| { readonly kind: "waiting" | "rejected" | "failed"; readonly error: string };

interface Inspected {
	readonly Id: string;
	readonly State: {
		readonly Status: string;
		readonly Pid: number;
		readonly ExitCode: number;
		readonly Error: string;
		readonly OOMKilled: boolean;
		readonly Health?: {
			readonly Status: string;
			readonly Log?: readonly { readonly Output: string }[] | null;
		};
	};
	readonly NetworkSettings: {
		readonly Ports: Readonly<
			Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
		> | null;
	};
}

export async function look(docker: Docker, containerId: string): Promise<Seen> {
	try {
		const path = `/containers/${containerId}/json`;
		return seenOf(await docker.request<Inspected>("GET", path));
	} catch (error) {
		if (error instanceof DockerError && error.status === 404) return { kind: "none" };
		throw error;
	}
}

export function seenOf({ Id, State, NetworkSettings }: Inspected): Seen {
	return {
		kind: kindOf(State.Status),
		containerId: Id,
		pid: State.Pid,
		exitCode: State.ExitCode,
		error: State.Error,
		oomKilled: State.OOMKilled,
		health: healthOf(State.Health?.Status),
		healthOutput: State.Health?.Log?.at(-1)?.Output ?? "",
		ports: portsOf(NetworkSettings.Ports ?? {}),
	};
}

/** The image and the container, held ready. */
export async function prepare(
	docker: Docker,
	task: TaskAssignment,
	site: Site,
	sources: Sources,
	signal: AbortSignal,
): Promise<Outcome> {
	const missing = task.attachments.find(({ network }) => !site.networkNames.has(network));
	if (missing) {
		return { kind: "waiting", error: `waiting for network ${missing.network} on this node` };
	}
	try {
		const creation = creationOf(task, site);
		const image = await ensureImage(docker, task, signal, sources);
		if (image.kind !== "done") return image;
		const path = `/containers/create?name=${encodeURIComponent(creation.name)}`;
		const { Id } = await docker.request<{ Id: string }>("POST", path, creation.body);
		try {
			for (const { network, endpoint } of creation.connects) {
				await docker.request("POST", `/networks/${encodeURIComponent(network)}/connect`, {
					Container: Id,
					EndpointConfig: endpoint,
				});
			}
		} catch (error) {
			// Half connected is worse than not there.
			await remove(docker, Id);
			throw error;
		}
		return { kind: "created", containerId: Id };
	} catch (error) {
		if (error instanceof ContainerError) return { kind: "rejected", error: error.message };
		if (!(error instanceof DockerError)) throw error;
		// A network that went away in between comes back with the next repair.
		const passing = error.status === 404 && /network/i.test(error.message);
		return { kind: passing ? "waiting" : "rejected", error: error.message };
	}
}

export async function start(docker: Docker, containerId: string): Promise<Outcome> {
	try {
		await docker.request("POST", `/containers/${containerId}/start`);
		return { kind: "done" };
	} catch (error) {
		if (!(error instanceof DockerError)) throw error;
		if (error.status === alreadySo) return { kind: "done" };
		return { kind: "failed", error: `starting container failed: ${error.message}` };
	}
}

/** Asks, waits for the grace the container was created with (or the task's newest), then kills. */
export async function stop(
	docker: Docker,
	containerId: string,
	task?: TaskAssignment,
): Promise<Outcome> {
	try {
		const grace = task ? `?t=${stopSeconds(task)}` : "";
		await docker.request("POST", `/containers/${containerId}/stop${grace}`);
		return { kind: "done" };
	} catch (error) {
		if (!(error instanceof DockerError)) throw error;
		if (error.status === alreadySo || error.status === 404) return { kind: "done" };
		return { kind: "waiting", error: `stopping container failed: ${error.message}` };
	}
}

/** With its anonymous volumes, as a task's end means in Swarm. */
export async function remove(docker: Docker, containerId: string): Promise<Outcome> {
	try {
		await docker.request("DELETE", `/containers/${containerId}?v=1&force=1`);
		return { kind: "done" };
	} catch (error) {
		if (!(error instanceof DockerError)) throw error;
		if (error.status === 404 || error.status === 409) return { kind: "done" };
		return { kind: "waiting", error: `removing container failed: ${error.message}` };
	}
}

/** "Already started", "already stopped". */
const alreadySo = 304;

/** A registry that says nothing at all for this long is as good as away, where there is an image to go on with. */
const silentRegistryMs = 3_000;
/** And is not asked again for this long. */
const awayMs = 60_000;

/**
 * Pulls, unless the very image is here. A tag is asked for again each time, since it may lead elsewhere by now; but a
 * registry that is away stops nobody whose image is here.
 */
async function ensureImage(
	docker: Docker,
	task: TaskAssignment,
	signal: AbortSignal,
	{ registries, images, registryAuth, ownRegistryAuth }: Sources,
): Promise<Outcome> {
	const named = task.template.container.image;
	const own = ownImage(named);
	if (own?.digest === "") {
		return {
			kind: "rejected",
			error: `image ${named}: of an image that was built here the digest is needed`,
		};
	}
	const image = own ? `${own.source}@${own.digest}` : named;
	const here = await isHere(docker, image);
	// By this name people see it, and nobody prunes it.
	const done = async (): Promise<Outcome> => {
		if (own)
			await docker.request(
				"POST",
				`/images/${image}/tag?repo=${own.name.split(":")[0]}&tag=${own.tag}`,
			);
		return { kind: "done" };
	};
	if (here && (image.includes("@") || registries.isAway(image))) return done();
	// Without an answer the pull is tried all the same: the node may be logged in by itself.
	const asked = task.registryAuth ? await registryAuth(task.id).catch(() => null) : null;
	const auth = own ? ownRegistryAuth : asked;
	const pullOnce = () =>
		pull(docker, image, signal, { auth, silenceMs: here ? silentRegistryMs : null });
	let failure = await pullOnce();
	if (failure !== null && /no space left on device/.test(failure)) {
		if (await images.makeRoom(docker)) failure = await pullOnce();
	}
	if (failure === null) {
		if (!here) images.pulled(named);
		return done();
	}
	if (isSilence(failure)) registries.noteAway(image);
	if (here) return done();
	const error = `No such image: ${named} (${failure})${own ? "" : remedyFor(failure, task)}`;
	return { kind: "rejected", error };
}

/** Engines of all ages, in their own words. */
function remedyFor(failure: string, { template, registryAuth }: TaskAssignment): string {
	const registry = registryOf(template.container.image);
	if (/unauthorized|no basic auth credentials|denied|authentication required/i.test(failure)) {
		return registryAuth
			? `: registry ${registry} refuses the credentials given for it: "docker login ${registry}" anew, then docker service update --with-registry-auth (of an application: docker skein app secret NAME registries.${registry} --user USER)`
			: `: registry ${registry} wants a login: "docker login ${registry}", then docker service update --with-registry-auth`;
	}
	if (/no matching manifest|no match for platform/i.test(failure)) {
		return ": it has no version for this node's platform: use another image, or a constraint on node.platform.arch";
	}
	return "";
}

/** Where images come from, and where they are put. */
export interface Sources {
	readonly registries: Registries;
	readonly images: Stock;
	/** What the registry of the task's image wants to see; null for nothing. */
	registryAuth(task: TaskId): Promise<string | null>;
	/** What this node's own registry wants to see, of images that were built in the cluster. */
	readonly ownRegistryAuth: string;
}

/** The images on this node, as far as we pulled them (../images.ts). */
export interface Stock {
	pulled(image: string): void;
	/** True where something could be removed. */
	makeRoom(docker: Docker): Promise<boolean>;
}

/** Registries that did not answer a moment ago, by the first word of their images' names. */
export class Registries {
	readonly #awayUntilMs = new Map<string, number>();
	readonly #nowMs: () => number;

	constructor(nowMs: () => number) {
		this.#nowMs = nowMs;
	}

	isAway(image: string): boolean {
		return (this.#awayUntilMs.get(registryOf(image)) ?? 0) > this.#nowMs();
	}

	noteAway(image: string): void {
		this.#awayUntilMs.set(registryOf(image), this.#nowMs() + awayMs);
	}
}

const nothingSaid = "the registry said nothing";

/** No answer at all, in Go's words; a registry that says no is not away. */
function isSilence(failure: string): boolean {
	const silence =
		/dial tcp|no such host|i\/o timeout|connection refused|Client\.Timeout|proxyconnect|EOF$/;
	return failure.startsWith(nothingSaid) || silence.test(failure);
}

async function isHere(docker: Docker, image: string): Promise<boolean> {
	try {
		await docker.request("GET", `/images/${encodeURI(image)}/json`);
		return true;
	} catch (error) {
		if (error instanceof DockerError) return false;
		throw error;
	}
}

/** What went wrong, in the engine's words, or null. */
async function pull(
	docker: Docker,
	image: string,
	signal: AbortSignal,
	{ auth, silenceMs }: { readonly auth: string | null; readonly silenceMs: number | null },
): Promise<string | null> {
	const { name, tag } = splitReference(image);
	const path = `/images/create?fromImage=${encodeURIComponent(name)}&tag=${encodeURIComponent(tag)}`;
	const silence = new AbortController();
	const timer = silenceMs === null ? undefined : setTimeout(() => silence.abort(), silenceMs);
	try {
		const either = AbortSignal.any([signal, silence.signal]);
		const headers = auth === null ? undefined : { "X-Registry-Auth": auth };
		const progress = await docker.stream("POST", path, either, headers);
		for await (const line of lines(progress)) {
			clearTimeout(timer);
			const { error } = JSON.parse(line) as { error?: string };
			if (error) return error;
		}
		return null;
	} catch (error) {
		if (error instanceof DockerError) return error.message;
		if (silence.signal.aborted) return `${nothingSaid} for ${silenceMs} ms`;
		throw error;
	} finally {
		clearTimeout(timer);
	}
}

/** The engine wants the name and what picks a version of it apart; with a digest the tag is but a remark. */
export function splitReference(image: string): { name: string; tag: string } {
	const [reference = "", digest] = image.split("@");
	const colon = reference.lastIndexOf(":");
	const tagged = colon > reference.lastIndexOf("/");
	const name = tagged ? reference.slice(0, colon) : reference;
	const tag = tagged ? reference.slice(colon + 1) : "latest";
	return { name, tag: digest ?? tag };
}

function kindOf(status: string): "created" | "running" | "ended" {
	if (status === "created") return "created";
	return status === "exited" || status === "dead" || status === "removing" ? "ended" : "running";
}

function healthOf(status: string | undefined): Health {
	return status === "starting" || status === "healthy" || status === "unhealthy" ? status : "none";
}

/** IPv4 and IPv6 bindings of one port are one port to us. */
function portsOf(ports: NonNullable<Inspected["NetworkSettings"]["Ports"]>): PortSpec[] {
	const found = new Map<string, PortSpec>();
	for (const [key, bindings] of Object.entries(ports)) {
		const [target = "0", protocol = "tcp"] = key.split("/");
		for (const { HostPort } of bindings ?? []) {
			found.set(`${key} ${HostPort}`, {
				name: "",
				protocol: protocol as Protocol,
				target: Number(target),
				published: Number(HostPort),
				mode: "host",
			});
		}
	}
	return [...found.values()];
}
