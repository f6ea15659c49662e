// Jobs with the real CLI on real engines: run to their end, tried again, cut off, and never run twice.
//
// Each container leaves a line in a volume of its node that outlives it, so that what has run is counted by what it did
// and not by what anybody says of it.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { startCluster, type TestCluster, threeEngines, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

describe.skipIf(Boolean(reason))("jobs", () => {
	let cluster: TestCluster;
	let nodes: readonly LabNode[];

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: threeEngines,
		});
		nodes = cluster.lab.nodes;
	}, 900_000);

	afterAll(async () => {
		await cluster?.stop();
	}, 60_000);

	const node = (name: string) => cluster.lab.node(name);
	const volume = "--mount type=volume,source=traces,target=/traces";
	/** Says that it began, does `what`, and says that it ended. */
	const traced = (job: string, what: string) =>
		`sh -c "echo began >> /traces/${job}; ${what}; echo ended >> /traces/${job}"`;
	/** The lines that the job's containers left, on all nodes that are there. */
	async function traces(job: string): Promise<{ began: number; ended: number }> {
		const said = await Promise.all(
			nodes.map(async (each) => {
				const file = `$(docker volume inspect -f '{{.Mountpoint}}' traces)/${job}`;
				return (await each.exec(["sh", "-c", `cat ${file}`])).stdout;
			}),
		);
		const lines = said.join("").split("\n");
		const count = (word: string) => lines.filter((line) => line === word).length;
		return { began: count("began"), ended: count("ended") };
	}
	const replicas = async (name: string) =>
		(await cluster.docker(`service ls -f name=${name} --format "{{.Replicas}}"`)).trim();
	const states = async (name: string) =>
		(await cluster.docker(`service ps ${name} --format "{{.Node}} {{.CurrentState}}"`))
			.trim()
			.split("\n");
	const isUp = async (name: string) =>
		new RegExp(`${name} Ready`).test(
			await cluster.docker('node ls --format "{{.Hostname}} {{.Status}}"'),
		);

	test("five completions, two at a time, waited for by the CLI, on a network, with logs", async () => {
		await cluster.docker("network create -d overlay net");
		const said = await cluster.docker(
			`service create --name five --network net --mode replicated-job --replicas 5 --max-concurrent 2 ${volume} nginx:1.22 ${traced("five", "echo worked; sleep 1")}`,
			{ timeoutMs: 180_000 },
		);
		expect(said).toContain("job complete");
		expect(await replicas("five")).toBe("0/0 (5/5 completed)");
		expect(await traces("five")).toEqual({ began: 5, ended: 5 });
		expect((await states("five")).filter((line) => / Complete /.test(line))).toHaveLength(5);
		const logs = await cluster.docker("service logs --raw five");
		expect(logs.trim().split("\n")).toEqual(["worked", "worked", "worked", "worked", "worked"]);
	}, 300_000);

	test("one that fails is tried as often as it may, and then the CLI says so", async () => {
		const ran = await cluster.tryDocker(
			`service create --name dies --mode replicated-job --restart-condition on-failure --restart-max-attempts 2 --restart-delay 1s ${volume} nginx:1.22 ${traced("dies", "exit 7")}`,
			{ timeoutMs: 180_000 },
		);
		expect(ran.code).toBe(1);
		expect(ran.stderr).toContain("service update paused: job failed: 0 of 1 completed");
		expect(ran.stderr).toContain("task: non-zero exit (7)");
		expect(await traces("dies")).toEqual({ began: 3, ended: 0 });
		await Bun.sleep(5_000);
		expect(await traces("dies")).toEqual({ began: 3, ended: 0 });
	}, 300_000);

	test("a service with restart condition none is not started again either", async () => {
		await cluster.docker(
			`service create -d --name once --restart-condition none ${volume} nginx:1.22 ${traced("once", "exit 3")}`,
		);
		await until("it has failed", async () => /Failed/.test((await states("once")).join()));
		await Bun.sleep(5_000);
		expect(await traces("once")).toEqual({ began: 1, ended: 0 });
	}, 120_000);

	test("once on every node", async () => {
		const said = await cluster.docker(
			`service create --name every --mode global-job ${volume} nginx:1.22 ${traced("every", "true")}`,
			{ timeoutMs: 180_000 },
		);
		expect(said).toContain("job complete");
		expect(await replicas("every")).toBe("0/0 (3/3 completed)");
		expect((await states("every")).map((line) => line.slice(0, 2)).sort()).toEqual([
			"h1",
			"h2",
			"h3",
		]);
		expect(await traces("every")).toEqual({ began: 3, ended: 3 });
	}, 300_000);

	test("a machine that loses its power: what it had completed is not run again, what it was at is", async () => {
		// Two on each machine: of a pair the first is done when the power goes, the second is not.
		await cluster.docker(
			`service create -d --name done --mode replicated-job --constraint node.hostname==h3 ${volume} nginx:1.22 ${traced("done", "true")}`,
		);
		await cluster.docker(
			`service create -d --name cut --mode replicated-job --constraint node.hostname!=h1 --replicas 2 ${volume} nginx:1.22 ${traced("cut", "sleep 25")}`,
		);
		await until("the one is done", async () => (await replicas("done")).includes("(1/1"));
		await until("the other is at it", async () => (await traces("cut")).began === 2);
		expect((await states("cut")).map((line) => line.slice(0, 2)).sort()).toEqual(["h2", "h3"]);
		await node("h3").stop();
		await until("both completed", async () => (await replicas("cut")).includes("(2/2"), 120_000);
		expect((await states("cut")).filter((line) => / Complete /.test(line))).toEqual([
			expect.stringMatching(/^h2/),
			expect.stringMatching(/^h2/),
		]);
		await node("h3").start();
		await until("h3 is back", () => isUp("h3"), 120_000);
		await Bun.sleep(10_000);
		expect(await traces("cut")).toEqual({ began: 3, ended: 2 });
		expect(await traces("done")).toEqual({ began: 1, ended: 1 });
		expect(await replicas("done")).toBe("0/0 (1/1 completed)");
	}, 400_000);

	test("the control plane away, a machine rebooted: its agent starts no job again", async () => {
		await cluster.docker(
			`service create -d --name slow --mode replicated-job --restart-condition none --constraint node.hostname==h2 ${volume} nginx:1.22 ${traced("slow", "sleep 600")}`,
		);
		await until("it is at it", async () => (await traces("slow")).began === 1);
		await cluster.stopControlPlane();
		await node("h2").stop();
		await node("h2").start();
		await Bun.sleep(15_000);
		const before = await traces("slow");
		await cluster.startControlPlane();
		await until("h2 is back", () => isUp("h2"), 120_000);
		await until("its attempt has failed", async () =>
			/Failed|Orphaned/.test((await states("slow")).join()),
		);
		await Bun.sleep(5_000);
		expect([before, await traces("slow")]).toEqual([
			{ began: 1, ended: 0 },
			{ began: 1, ended: 0 },
		]);
		const all = await Promise.all(["five", "every", "done"].map(traces));
		expect(all).toEqual([
			{ began: 5, ended: 5 },
			{ began: 3, ended: 3 },
			{ began: 1, ended: 1 },
		]);
	}, 400_000);

	test("by the clock: each due time is one run, also past a restart of the control plane", async () => {
		await cluster.docker(
			`service create --name tick --mode replicated-job --label skein.schedule="*/10 * * * * *" ${volume} nginx:1.22 ${traced("tick", "true")}`,
			{ timeoutMs: 60_000 },
		);
		const run = async () => {
			const said = await cluster.docker(
				'service inspect tick --format "{{.JobStatus.JobIteration.Index}} {{.JobStatus.LastExecution.Unix}}"',
			);
			const [index = 0, second = 0] = said.trim().split(" ").map(Number);
			return { index, second };
		};
		const seen = new Map<number, number>();
		const watch = async (count: number) => {
			const before = seen.size;
			await until(
				`${count} more runs`,
				async () => {
					const { index, second } = await run();
					if (second > 0) seen.set(index, second);
					return seen.size >= before + count;
				},
				90_000,
			);
		};
		await watch(2);
		await cluster.stopControlPlane();
		await cluster.startControlPlane();
		await watch(1);
		await cluster.docker("service update -d --label-rm skein.schedule tick");
		await Bun.sleep(3_000);
		const { index } = await run();
		expect((await traces("tick")).began).toBe(index + 1);
		const times = [...seen.values()];
		expect(new Set(times.map((second) => Math.floor(second / 10))).size).toBe(times.length);
		await Bun.sleep(11_000);
		expect((await run()).index).toBe(index);
	}, 300_000);
});
