// A cluster that is just being made: who asks for it comes too early, which is no reason to be told that there is none.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { must } from "../../model/invariant.ts";
import { type Here, startHere } from "./here.ts";

let at: Here;
beforeAll(async () => {
	at = await startHere();
});
afterAll(() => at.stop());

async function placement() {
	const { directory, hosted } = at.world;
	const [cluster] = await hosted.of("owner").list();
	return must(await directory.placementOf(must(cluster, "it has one").id), "it is placed");
}

test("whoever asks is told to come again, until it is there", async () => {
	const { directory } = at.world;
	const made = await placement();
	await directory.turn(made, { state: "making" }, Date.now());
	for (const path of ["/services", "/swarm", "/info", "/c/default/services"]) {
		const reply = await at.ask(path);
		expect([path, reply.status, reply.headers.get("Retry-After"), await reply.json()]).toEqual([
			...[path, 503, "1"],
			{ message: "the cluster default is being made: try again in a moment" },
		]);
	}
	expect((await at.ask("/_ping")).status).toBe(200);
	expect(await (await at.ask("/api/clusters")).json()).toEqual([]);
	expect((await at.ask("/c/another/services")).status).toBe(404);

	await directory.turn({ ...made, state: "making" }, { state: "active" }, Date.now());
	expect((await at.ask("/services")).status).toBe(200);
});

test("the first of an organization is made once, and anew by the next who asks where its maker died", async () => {
	const { directory, hosted } = at.world;
	expect(await hosted.makeFirst("owner")).toBeTrue();
	await hosted.of("owner").erase((await placement()).cluster);
	expect(await hosted.makeFirst("owner")).toBeTrue();
	expect(await hosted.of("owner").list()).toEqual([]);

	const never = { cluster: at.world.newId() as never, name: "default", shard: "main" };
	await directory.reserve({ ...never, organization: "acme" }, null, 1);
	expect(await hosted.makeFirst("acme")).toBeFalse();
	await hosted.mend();
	expect(await hosted.makeFirst("acme")).toBeTrue();
	expect(await hosted.of("acme").list()).toMatchObject([{ name: "default" }]);
});
