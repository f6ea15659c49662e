// A swarm with nothing in it, on a socket of its own, that writes down what `docker stack deploy` would make.
//
// Whatever is made has its name for an id, and so has what is said to be there already (`external`): what refers to it
// then refers to a name. Whether it is there is for the control plane to say.

import { chmod, mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Document } from "../../model/service.ts";

export interface Recorded {
	readonly networks: Document[];
	readonly secrets: Document[];
	readonly configs: Document[];
	readonly services: Document[];
}

/** What a registry says of an image, by the engine's word; the answer as it is. */
export type AskRegistry = (path: string, auth: string | null) => Promise<Response>;

export interface Recorder {
	readonly recorded: Recorded;
	close(): Promise<void>;
}

/** Of one request: a config has 1 MB, in base64. */
const longestBody = 2 * 1024 * 1024;

export async function openRecorder(socket: string, askRegistry: AskRegistry): Promise<Recorder> {
	const recorded: Recorded = { networks: [], secrets: [], configs: [], services: [] };
	await mkdir(dirname(socket), { recursive: true, mode: 0o700 });
	await rm(socket, { force: true });
	const server = Bun.serve({
		unix: socket,
		maxRequestBodySize: longestBody,
		fetch: (request) => answerTo(request, recorded, askRegistry),
	});
	await chmod(socket, 0o600);
	return {
		recorded,
		async close() {
			await server.stop(true);
			await rm(socket, { force: true });
		},
	};
}

/** The command line speaks this or an older version, as it can. */
const apiVersion = "1.51";
const kinds = ["networks", "secrets", "configs", "services"] as const;

export async function answerTo(
	request: Request,
	recorded: Recorded,
	askRegistry: AskRegistry,
): Promise<Response> {
	const { pathname, searchParams } = new URL(request.url);
	const path = pathname.replace(/^\/v\d+\.\d+(?=\/)/, "");
	const [, what = "", name = ""] = path.split("/").map(decodeURIComponent);
	if (what === "_ping") {
		const headers = { "Api-Version": apiVersion, Ostype: "linux" };
		return new Response(request.method === "HEAD" ? null : "OK", { headers });
	}
	if (what === "info") {
		return Response.json({ Swarm: { LocalNodeState: "active", ControlAvailable: true } });
	}
	if (what === "version") return Response.json({ ApiVersion: apiVersion, Os: "linux" });
	if (what === "distribution") return askRegistry(path, request.headers.get("x-registry-auth"));
	const kind = kinds.find((each) => each === what);
	if (!kind) return refused(501, `${path} is more than a compose file takes`);
	if (request.method === "POST") {
		if (name !== "create") return refused(501, "nothing is there to be changed");
		const document = (await request.json()) as Document;
		recorded[kind].push(document);
		return Response.json({ ID: document["Name"], Id: document["Name"] }, { status: 201 });
	}
	if (name !== "") return inspected(kind, name);
	if (kind === "networks" || kind === "services") return Response.json([]);
	return Response.json(
		namesOf(searchParams.get("filters")).map((each) => ({ ID: each, Spec: { Name: each } })),
	);
}

/** Only a network that somebody else made is looked at by its name. */
function inspected(kind: keyof Recorded, name: string): Response {
	if (kind !== "networks") return refused(404, `there is no ${name}`);
	return Response.json({ Id: name, Name: name, Driver: "overlay", Scope: "swarm" });
}

function namesOf(filters: string | null): readonly string[] {
	const { name = {} } = JSON.parse(filters ?? "{}") as { name?: Record<string, true> | string[] };
	return Array.isArray(name) ? name : Object.keys(name);
}

const refused = (status: number, message: string) => Response.json({ message }, { status });
