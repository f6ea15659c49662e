// No request lost: what users of a service notice while it is rolled, rolled back, scaled and moved, which is nothing.
//
// Requests come without a pause from a container through the VIP and from outside through every node's published port,
// half of them on connections that are kept. Every one of them is counted (requests.ts); none is tried again.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { ensureRoot } from "../lab/roots.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";
import type { Sum } from "./requests.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const health =
	'--health-cmd "wget -q -O /dev/null http://127.0.0.1/whoami" --health-interval 1s --health-timeout 5s';

describe.skipIf(Boolean(reason))("rollouts", () => {
	let cluster: TestCluster;
	const docker = (line: string) => cluster.docker(line, { timeoutMs: 240_000 });
	const node = (name: string): LabNode => cluster.lab.node(name);

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: [
				{ name: "h1", suite: "bookworm" },
				{ name: "h2", suite: "sid" },
				{ name: "h3", suite: "trixie" },
			],
		});
		for (const each of cluster.lab.nodes) {
			await each.must(["docker", "tag", "nginx:1.22", "nginx:new"]);
		}
		await docker("network create -d overlay net");
		await docker(
			"service create --name client --network net --constraint node.hostname==h1 nginx:1.22 tail -f /dev/null",
		);
		await docker(
			`service create --name web --replicas 4 --network net --publish 8080:80 --label skein.drain=60s --stop-signal SIGQUIT --update-monitor 1s --rollback-monitor 1s ${health} nginx:1.22`,
		);
	}, 900_000);

	afterAll(async () => {
		await cluster?.stop();
	}, 60_000);

	/** Requests go on while the work is done, and a moment longer. */
	async function during(
		what: string,
		work: () => Promise<unknown>,
		{
			asked = ["h1", "h2", "h3"],
			service = "web",
			port = 8080,
		}: { asked?: readonly string[]; service?: string; port?: number } = {},
	): Promise<Sum> {
		const script = join(import.meta.dir, "requests.ts");
		const published = asked.map((name) => `http://${node(name).address}:${port}/whoami`);
		const inside = ["nsenter", `--net=${await networkOf(node("h1"), "client")}`];
		const callers = [
			Bun.spawn(
				[...inside, process.execPath, script, `http://${await vipOf(service)}/whoami`],
				pipes,
			),
			Bun.spawn([...cluster.lab.client.enter, process.execPath, script, ...published], pipes),
		];
		try {
			await Bun.sleep(1_000);
			await work();
			await Bun.sleep(1_000);
			for (const caller of callers) {
				caller.stdin.write("\n");
				await caller.stdin.end();
			}
			const said = await Promise.all(callers.map(({ stdout }) => new Response(stdout).text()));
			const [vip, ports] = said.map((text) => JSON.parse(text) as Sum);
			if (!vip || !ports) throw new Error("two callers");
			for (const [where, sum] of Object.entries({ VIP: vip, "published ports": ports })) {
				console.log(
					`${what}, ${where}: ${sum.lost.length} of ${sum.asked} requests lost, ${sum.kept} of them on kept connections, the longest took ${sum.longestMs} ms`,
				);
				for (const lost of sum.lost.slice(0, 20)) console.log(`  ${JSON.stringify(lost)}`);
			}
			const sum = {
				asked: vip.asked + ports.asked,
				kept: vip.kept + ports.kept,
				connections: vip.connections + ports.connections,
				lost: [...vip.lost, ...ports.lost],
				longestMs: Math.max(vip.longestMs, ports.longestMs),
			};
			expect(sum.kept).toBeGreaterThan(50);
			expect(sum.connections).toBeGreaterThan(50);
			return sum;
		} finally {
			for (const caller of callers) caller.kill("SIGKILL");
		}
	}
	const pipes = { stdin: "pipe", stdout: "pipe", stderr: "ignore" } as const;

	/** The network namespace of a service's container, as a path on this machine. */
	async function networkOf(on: LabNode, service: string): Promise<string> {
		const filter = `label=com.docker.swarm.service.name=${service}`;
		const id = (await on.must(["docker", "ps", "-q", "-f", filter])).trim();
		const pid = (await on.must(["docker", "inspect", "-f", "{{.State.Pid}}", id])).trim();
		return `${on.root}/proc/${pid}/ns/net`;
	}

	async function vipOf(service: string): Promise<string> {
		const format = '"{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}"';
		const [vip = ""] = (await docker(`service inspect ${service} --format ${format}`)).split("/");
		return vip;
	}

	const running = async (service: string) =>
		(await docker(`service ps ${service} -f desired-state=running --format "{{.CurrentState}}"`))
			.split("\n")
			.filter((line) => line.startsWith("Running")).length;

	test.each([
		[
			"an update that stops first",
			"service update --update-order stop-first --image nginx:new web",
		],
		["an update that starts first", "service update --update-order start-first --force web"],
		["a rollback", "service rollback web"],
		["fewer replicas", "service scale web=2"],
		["more replicas", "service scale web=4"],
	])(
		"%s loses none",
		async (what, line) => {
			const { lost } = await during(what, () => docker(line));
			expect(lost).toEqual([]);
		},
		300_000,
	);

	test("a drained node loses none", async () => {
		const { lost } = await during("drain", async () => {
			await docker("node update --availability drain h2");
			await until("four of four elsewhere", async () => (await running("web")) === 4);
		});
		await docker("node update --availability active h2");
		await docker("service update --force web");
		expect(lost).toEqual([]);
	}, 300_000);

	test("a machine that is rebooted in good order loses none", async () => {
		await docker("service update --force web");
		const { lost } = await during(
			"reboot",
			async () => {
				// As the machine's init does on its way down, and its power a moment after.
				await node("h3").must(["env", "RUNLEVEL=6", "/etc/init.d/skein-agent", "stop"]);
				await node("h3").stop();
				await until("four of four elsewhere", async () => (await running("web")) === 4);
				await node("h3").start();
				await until("h3 is back", isBack);
			},
			{ asked: ["h1", "h2"] },
		);
		expect(lost).toEqual([]);
		await docker("service update --force web");
		const on = await docker('service ps web -f desired-state=running --format "{{.Node}}"');
		expect(on).toContain("h3");
	}, 300_000);

	test.each([
		["with a health check loses none", health, true],
		["without one is asked too early", "", false],
	] as const)(
		"a program that listens late %s",
		async (what, check, isWhole) => {
			await docker(
				`service create --name late --replicas 2 --network net --publish 8081:80 --label skein.drain=60s --stop-signal SIGQUIT --update-monitor 1s --update-order start-first ${check} nginx:1.22 sh -c "sleep 3; exec nginx"`,
			);
			const answers = () =>
				cluster.lab.client.exec([
					"curl",
					"-sS",
					"-m",
					"3",
					`http://${node("h1").address}:8081/whoami`,
				]);
			await until("both listen", async () => {
				const all = await Promise.all(Array.from({ length: 8 }, answers));
				return all.every(({ code }) => code === 0);
			});
			const { lost } = await during(
				`listens late, ${what}`,
				() => docker("service update --force late"),
				{
					service: "late",
					port: 8081,
				},
			);
			expect(lost.length === 0).toBe(isWhole);
			await docker("service rm late");
		},
		300_000,
	);

	test("an update that fails and goes back loses none, and both CLIs end with 1 and the reason", async () => {
		const oldest = join(await ensureRoot("bookworm"), "usr/bin/docker");
		const broken = `service update --update-failure-action rollback --update-order stop-first --args '"sh" "-c" "echo starting >&2; echo no database >&2; exit 3"' web`;
		for (const cli of [undefined, oldest]) {
			const { lost } = await during(`rolled back, ${cli ? "20.10" : "28"}`, async () => {
				const ran = await cluster.tryDocker(broken, {
					timeoutMs: 240_000,
					...(cli !== undefined && { cli }),
				});
				const reason =
					/update rolled back due to failure or early termination of task \w{25} \(web\.\d on h\d\): task: non-zero exit \(3\): its last line: no database/;
				expect(`${ran.stdout}${ran.stderr}`).toMatch(reason);
				expect(ran.code).toBe(1);
			});
			expect(lost).toEqual([]);
			const state = await docker('service inspect web --format "{{.UpdateStatus.State}}"');
			expect(state.trim()).toBe("rollback_completed");
			expect(await running("web")).toBe(4);
		}
		const said = await curl("/api/services/web/rollouts");
		expect(JSON.parse(said).slice(0, 2)).toMatchObject([
			{ kind: "automatic rollback", outcome: "succeeded" },
			{
				kind: "update",
				outcome: "rolled back",
				failure: { exitCode: 3, lastLines: ["starting", "no database"] },
			},
		]);
	}, 600_000);

	test("a task that is unhealthy is replaced, and says what its check said", async () => {
		await docker(
			`service create --detach --name sick --health-cmd "test ! -e /tmp/sick || { echo sick of it; false; }" --health-interval 1s --health-retries 1 --restart-delay 0s nginx:1.22`,
		);
		await until("it runs", async () => (await running("sick")) === 1);
		const filter = "label=com.docker.swarm.service.name=sick";
		for (const each of cluster.lab.nodes) {
			const id = (await each.must(["docker", "ps", "-q", "-f", filter])).trim();
			if (id) await each.must(["docker", "exec", id, "sh", "-c", ": > /tmp/sick"]);
		}
		const ps = 'service ps sick --no-trunc --format "{{.CurrentState}} {{.Error}}"';
		await until("another one runs in its place", async () => {
			const lines = await docker(ps);
			return /^Running /m.test(lines) && /^Failed /m.test(lines);
		});
		expect(await docker(ps)).toContain("dockerexec: unhealthy container: sick of it");
		await docker("service rm sick");
	}, 300_000);

	test("a power cut announces nothing: what is sent there until its peers notice is lost, and no more", async () => {
		const { asked, lost } = await during(
			"power cut",
			async () => {
				await node("h3").stop();
				await until("four of four elsewhere", async () => (await running("web")) === 4);
			},
			{ asked: ["h1", "h2"] },
		);
		const times = lost.map(({ at }) => Date.parse(at));
		const seconds = times.length > 0 ? (Math.max(...times) - Math.min(...times)) / 1000 : 0;
		console.log(`power cut: ${lost.length} of ${asked} requests lost within ${seconds} s`);
		const after = await during("after the power cut", () => Bun.sleep(3_000), {
			asked: ["h1", "h2"],
		});
		expect(after.lost).toEqual([]);
		await node("h3").start();
		await until("h3 is back", isBack);
	}, 300_000);

	test("a program that cannot start backs off, and service ps says so", async () => {
		await docker(
			`service create --detach --name loop --restart-delay 1s nginx:1.22 sh -c "echo why; exit 4"`,
		);
		await until("it waits longer than it was told to", async () =>
			(await docker('service ps loop --no-trunc --format "{{.Error}}"')).includes(
				"its last tasks ended soon after their start: the next starts in 2 s",
			),
		);
		await docker("service rm loop");
	}, 300_000);

	test("a moved tag is rolled by its digest, and the rollback restores the very bytes", async () => {
		const registry = await cluster.lab.registry();
		const image = `${registry.address}/app:latest`;
		const h1 = node("h1");
		const push = async (change: string) => {
			await h1.must([
				"sh",
				"-c",
				`docker create --name made nginx:1.22 && docker commit --change '${change}' made ${image} && docker rm made && docker push ${image} && docker rmi ${image}`,
			]);
		};
		await push("ENV VERSION=1");
		await docker(
			`service create --name app --replicas 2 --update-monitor 1s --rollback-monitor 1s ${image}`,
		);
		const spec = async () =>
			(
				await docker('service inspect app --format "{{.Spec.TaskTemplate.ContainerSpec.Image}}"')
			).trim();
		const first = await spec();
		expect(first).toMatch(/app:latest@sha256:[0-9a-f]{64}$/);
		const versions = async () => {
			const found: string[] = [];
			for (const each of cluster.lab.nodes) {
				const ids = (
					await each.must(["docker", "ps", "-q", "-f", "label=com.docker.swarm.service.name=app"])
				).trim();
				for (const id of ids.split("\n").filter(Boolean)) {
					const env = await each.must([
						"docker",
						"inspect",
						"-f",
						"{{.Config.Image}} {{.Config.Env}}",
						id,
					]);
					found.push(`${env.split(" ")[0]} ${/VERSION=\d/.exec(env)?.[0]}`);
				}
			}
			return found;
		};
		expect(await versions()).toEqual([`${first} VERSION=1`, `${first} VERSION=1`]);
		await push("ENV VERSION=2");
		await docker(`service update --image ${image} app`);
		const second = await spec();
		expect(second).not.toBe(first);
		expect(await versions()).toEqual([`${second} VERSION=2`, `${second} VERSION=2`]);
		await docker("service rollback app");
		expect(await spec()).toBe(first);
		expect(await versions()).toEqual([`${first} VERSION=1`, `${first} VERSION=1`]);
		await docker("service rm app");
	}, 300_000);

	const isBack = async () =>
		/h3 Ready/.test(await docker('node ls --format "{{.Hostname}} {{.Status}}"'));

	/** Of our own API, which is at the same socket. */
	async function curl(path: string): Promise<string> {
		const answer = await fetch(`http://skein${path}`, { unix: cluster.socket } as RequestInit);
		return answer.text();
	}
});
