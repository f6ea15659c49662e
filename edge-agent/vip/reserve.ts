// Holds every published port with a socket, and says who had one before us.
//
// Our rules lead a published port to its service before the machine's own programs see a packet, so a program that
// listens there would fall silent and nobody would know why. With the port held, the next one to want it is told by the
// kernel; one that was there first is named to the user. Nothing is ever read from these sockets, and they end with the
// agent's process.

import { createSocket, type Socket } from "node:dgram";
import { createServer, type Server } from "node:net";
import type { NetworkAssignment } from "../../model/assignment.ts";
import type { Protocol } from "../../model/service.ts";
import type { Docker } from "../host/docker.ts";
import type { Exec } from "../host/exec.ts";

interface PublishedPort {
	readonly protocol: Protocol;
	readonly port: number;
	readonly service: string;
}

/** Our own name server's, on a few addresses that rules never take from it. */
const dnsPort = 53;

export class Reservations {
	readonly #exec: Exec;
	readonly #docker: () => Pick<Docker, "request"> | undefined;
	readonly #held = new Map<string, Socket | Server>();

	/** The engine may be away; then a container is only known as one of its. */
	constructor(exec: Exec, docker: () => Pick<Docker, "request"> | undefined) {
		this.#exec = exec;
		this.#docker = docker;
	}

	/** Holds these ports and no others. Says of each that somebody else has who that is, in words for the user. */
	async ensure(networks: readonly NetworkAssignment[]): Promise<string[]> {
		const wanted = published(networks);
		const keys = new Set(wanted.map(keyOf));
		for (const [key, socket] of this.#held) {
			if (keys.has(key)) continue;
			this.#held.delete(key);
			socket.close();
		}
		const taken: string[] = [];
		for (const port of wanted) {
			const key = keyOf(port);
			if (this.#held.has(key)) continue;
			try {
				this.#held.set(key, await hold(port));
			} catch {
				taken.push(wordsFor(port, await this.#ownerOf(port)));
			}
		}
		return taken;
	}

	async #ownerOf({ protocol, port }: PublishedPort): Promise<string> {
		const option = protocol === "udp" ? "-lnup" : "-lntp";
		const seen = await this.#exec("ss", ["-H", option, `sport = :${port}`]).catch(() => "");
		const program = parseOwner(seen);
		if (program !== "docker-proxy" && program !== "dockerd") return program ?? "another program";
		try {
			const filters = encodeURIComponent(JSON.stringify({ publish: [`${port}/${protocol}`] }));
			const found = await this.#docker()?.request<{ Names: string[] }[]>(
				"GET",
				`/containers/json?filters=${filters}`,
			);
			const name = found?.[0]?.Names[0]?.replace(/^\//, "");
			if (name) return `the container ${name}`;
		} catch {
			// Then the engine's own name must do.
		}
		return "a container";
	}
}

/** `users:(("nginx",pid=12,fd=6),…)`: the program's name. */
export function parseOwner(text: string): string | undefined {
	return /users:\(\("([^"]+)"/.exec(text)?.[1];
}

function published(networks: readonly NetworkAssignment[]): PublishedPort[] {
	return networks
		.filter(({ ingress }) => ingress)
		.flatMap(({ endpoints }) => endpoints)
		.flatMap(({ name, ports }) =>
			ports.map(({ protocol, published }) => ({ protocol, port: published, service: name })),
		)
		.filter(({ protocol, port }) => protocol !== "sctp" && port !== dnsPort);
}

function keyOf({ protocol, port }: PublishedPort): string {
	return `${port}/${protocol}`;
}

/** Shared with nobody but another agent, so that a new one can start before the old one ends. */
async function hold({ protocol, port }: PublishedPort): Promise<Socket | Server> {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	if (protocol === "udp") {
		const socket = createSocket({ type: "udp4", reusePort: true });
		socket.once("error", reject);
		socket.bind(port, "0.0.0.0", resolve);
		await promise;
		return socket
			.off("error", reject)
			.on("error", () => {})
			.unref();
	}
	// Who gets here found our rules gone: the sooner he hears that, the better.
	const server = createServer((socket) => socket.destroy());
	server.once("error", reject);
	server.listen({ host: "0.0.0.0", port, reusePort: true }, resolve);
	await promise;
	return server
		.off("error", reject)
		.on("error", () => {})
		.unref();
}

function wordsFor({ protocol, port, service }: PublishedPort, owner: string): string {
	return `port ${port}/${protocol} is published by service ${service}, which gets all that is sent to it here; ${owner} on this machine listens on it too and hears nothing: give one of them another port`;
}
