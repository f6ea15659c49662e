// The door of Git: `POST /webhooks/CLUSTER/APPLICATION`. A delivery is proved, written, answered, and only then handled.

import { type Context, Hono } from "hono";
import { invalid, messageOf, notFound } from "../../model/errors.ts";
import type { ApplicationId } from "../../model/id.ts";
import { handle } from "../deployments/deliver.ts";
import { readSecrets } from "../deployments/secrets.ts";
import type { AppEnv } from "../world.ts";
import { bytesWithin } from "./bytes.ts";
import { readDelivery } from "./delivery.ts";
import { refsWithin } from "./refs.ts";

/** What is told of a push takes far less. */
const largestBytes = 5 * 1024 * 1024;

export function webhooksRouter(): Hono<AppEnv> {
	return new Hono<AppEnv>().post("/webhooks/:cluster/:application", async (c) => {
		const door = c.get("cluster");
		const id = c.req.param("application") as ApplicationId;
		const application = (await door?.snapshot())?.applications.get(id);
		if (!door || !application) {
			throw notFound(
				"there is no application here: `docker skein app ls` shows each one's webhook",
			);
		}
		const body = await bounded(c);
		const { webhook } = await readSecrets(door.contents, application);
		const read = await readDelivery({ headers: c.req.raw.headers, body }, webhook);
		const { world } = c.env;
		const delivery = {
			application: id,
			key: read.key,
			forge: read.forge,
			name: read.id,
			atMs: world.nowMs(),
			events: read.events,
			outcome: null,
		};
		if (!(await door.inbox.add(delivery))) {
			return c.json({ message: "this delivery came before: nothing is done a second time" });
		}
		// It is safe now: what fails from here on is found unhandled, and handled later.
		world.background(
			handle(door, delivery, refsWithin(world.forges)).catch((cause: unknown) =>
				world.operations.log({
					level: "warn",
					message: `a delivery waits to be handled: ${messageOf(cause)}`,
				}),
			),
		);
		return c.json({ message: "delivered", delivery: read.key }, 202);
	});
}

function bounded({ req }: Context<AppEnv>): Promise<Uint8Array<ArrayBuffer>> {
	return bytesWithin(req.raw.body, largestBytes, () =>
		invalid(`body: more than ${largestBytes >> 20} MB`),
	);
}
