// The Docker Engine API's swarm part: what the unmodified docker CLI, compose files and SDKs speak.
//
// Every path is there with and without a version (`/v1.41/services`, `/services`). Mount it last: it answers for every
// path that nobody else took, since clients tell "no such thing" by our 404. Who may call is decided before
// (app.ts); here `cluster` is the caller's own or undefined.

import { Hono } from "hono";
import { invalid, Refusal } from "../../model/errors.ts";
import type { DoorEnv } from "../cluster.ts";
import { containerRoutes } from "./containers.ts";
import type { EngineDeps } from "./door.ts";
import { answerTo, pageNotFound } from "./errors.ts";
import { eventRoutes } from "./events.ts";
import { execRoutes } from "./exec.ts";
import { logRoutes } from "./logs.ts";
import { materialRoutes } from "./materials.ts";
import { networkRoutes } from "./networks.ts";
import { nodeRoutes } from "./nodes.ts";
import { registryRoutes } from "./registry.ts";
import { rolloutRoutes } from "./rollouts.ts";
import { serviceRoutes } from "./services.ts";
import { swarmRoutes } from "./swarm.ts";
import { apiVersion, oldestApiVersion, systemRoutes } from "./system.ts";
import { taskRoutes } from "./tasks.ts";
import { volumeRoutes } from "./volumes.ts";

export function engine(deps: EngineDeps): Hono<DoorEnv> {
	const routes = [
		systemRoutes(deps),
		swarmRoutes(),
		nodeRoutes(deps),
		serviceRoutes(),
		taskRoutes(),
		containerRoutes(),
		execRoutes(),
		networkRoutes(),
		volumeRoutes(),
		materialRoutes(),
		logRoutes(),
		eventRoutes(),
		registryRoutes(deps),
	];
	const api = new Hono<DoorEnv>();
	for (const each of routes) api.route("/", each);

	const door = new Hono<DoorEnv>();
	door.onError((error, c) => {
		if (error instanceof Refusal)
			return withHeaders(answerTo(error), c.get("cluster") !== undefined);
		deps.onFault(error);
		const broken = {
			message: "internal error: the request was not carried out; see the control plane's log",
		};
		return new Response(JSON.stringify(broken), {
			status: 500,
			headers: { "Content-Type": "application/json" },
		});
	});
	door.use("*", async (c, next) => {
		await next();
		c.res = withHeaders(c.res, c.get("cluster") !== undefined);
	});
	door.use("/:version{v[0-9]+\\.[0-9]+}/*", async (c, next) => {
		checkVersion(c.req.param("version").slice(1));
		await next();
	});
	door.route("/api", rolloutRoutes());
	door.route("/:version{v[0-9]+\\.[0-9]+}", api);
	door.route("/", api);
	door.all("*", () => {
		throw pageNotFound();
	});
	return door;
}

/** Clients learn from `_ping`'s headers which version to speak, so every answer has them. */
function withHeaders(response: Response, inSwarm: boolean): Response {
	const headers = new Headers(response.headers);
	headers.set("Api-Version", apiVersion);
	headers.set("Docker-Experimental", "false");
	headers.set("Ostype", "linux");
	headers.set("Server", "Skein");
	headers.set("Swarm", inSwarm ? "active/manager" : "inactive");
	const { status, statusText } = response;
	return new Response(response.body, { status, statusText, headers });
}

function checkVersion(asked: string): void {
	const minor = (version: string) => Number(version.split(".")[1]);
	const [major] = asked.split(".");
	if (major !== "1" || minor(asked) > minor(apiVersion)) {
		throw invalid(
			`client version ${asked} is too new. Maximum supported API version is ${apiVersion}`,
		);
	}
	if (minor(asked) < minor(oldestApiVersion)) {
		throw invalid(
			`client version ${asked} is too old. Minimum supported API version is ${oldestApiVersion}, please upgrade your client to a newer version`,
		);
	}
}
