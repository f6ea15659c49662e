// A cluster as a file, and on its way to another control plane: `POST /api/clusters/NAME/export`, `/api/clusters/import`,
// `/api/clusters/NAME/move`. For people: docs/backup.md.

import { Hono } from "hono";
import { z } from "zod";
import { forbidden, invalid, messageOf, notFound } from "../../model/errors.ts";
import { actorOf } from "../accounts/door.ts";
import type { ClusterDoor } from "../cluster.ts";
import type { AppEnv } from "../world.ts";
import { receive } from "./file.ts";
import { parsePassphrase, passphraseHeader } from "./passphrase.ts";

/** What is held of a file while it is read: a fit for a worker's memory, and far more than clusters have. */
export const mostFileBytes = 48 * 1024 * 1024;

export function backupRouter(version: string): Hono<AppEnv> {
	const routes = new Hono<AppEnv>();
	routes.post("/api/clusters/import", async (c) => {
		const passphrase = parsePassphrase(c.req.header(passphraseHeader));
		const file = await receive(c.req.raw.body, mostFileBytes);
		const { clusters, organization } = actorOf(c);
		if (clusters !== "all") {
			throw forbidden(
				"this token reaches certain clusters and no others: import one with a token of them all",
			);
		}
		const to = { organization, name: c.req.query("name") };
		return c.json(await c.env.world.hosted.import(file, passphrase, to), 201);
	});
	return routes
		.post("/api/clusters/:name/export", async (c) => {
			const passphrase = parsePassphrase(c.req.header(passphraseHeader));
			const { id } = chosen(c.get("cluster"));
			const file = await c.env.world.hosted.export(id, passphrase, version);
			return c.body(file, 200, {
				"Content-Type": "application/vnd.skein.cluster",
				"Content-Disposition": `attachment; filename="${c.req.param("name")}.skein"`,
				"Cache-Control": "no-store",
			});
		})
		.post("/api/clusters/:name/move", async (c) => {
			const url = await urlOf(c.req.raw);
			await chosen(c.get("cluster")).commit(({ cluster }) => {
				const { movedTo: _before, ...rest } = cluster;
				return {
					changes: [
						{ kind: "put-cluster", cluster: url === null ? rest : { ...rest, movedTo: url } },
					],
					result: undefined,
				};
			});
			return c.json({ url });
		});
}

export const moveSchema = z.strictObject({ url: z.string().nullable() });
const mostBodyChars = 4_096;

async function urlOf(request: Request): Promise<string | null> {
	const text = (await request.text()).slice(0, mostBodyChars);
	let url: string | null;
	try {
		({ url } = moveSchema.parse(JSON.parse(text)));
	} catch (error) {
		throw invalid(`body: send {"url": "https://…"}, or {"url": null} to call a move off`, {
			cause: messageOf(error),
		});
	}
	if (url === null) return null;
	try {
		const { protocol, href } = new URL(url);
		if (/^https?:$/.test(protocol)) return href.replace(/\/+$/, "");
	} catch {
		// It is none, as the refusal says.
	}
	throw invalid(`url: ${url} is no address such as https://skein.example.com`);
}

function chosen(cluster: ClusterDoor | undefined): ClusterDoor {
	if (cluster) return cluster;
	throw notFound("no such cluster: `GET /api/clusters` lists those in your reach");
}
