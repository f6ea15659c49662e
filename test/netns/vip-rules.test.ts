// The tables given to the real nft: loaded whole, changed by difference, flushed by strangers.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Exec, exec } from "../../edge-agent/host/exec.ts";
import { ensureAccepts, removeAccepts } from "../../edge-agent/vip/dockeruser.ts";
import { Nft } from "../../edge-agent/vip/nft.ts";
import { tables } from "../../edge-agent/vip/ruleset.ts";
import { assignmentOf, type Scene } from "../../edge-agent/vip/scene.test-data.ts";
import { watchPort } from "../../model/protocol.ts";
import { worldAvailable } from "./vip-world.ts";

const reason = worldAvailable(["nft", "iptables", "unshare", "nsenter"]);
if (reason) console.log(`skipped: rules given to the real nft ${reason}`);

/** `count` services of `backends` tasks each, and as many published ports. */
function scene(count: number, backends: number, nodes = 3): Scene {
	const numbers = Array.from({ length: count }, (_, at) => at);
	const addresses = (vni: number, at: number) =>
		Array.from({ length: backends }, (_, task) => `10.0.${vni}.${10 + at * 8 + task}`);
	const at = (vni: number) =>
		Object.fromEntries(numbers.flatMap((one) => addresses(vni, one)).map((one) => [one, 1]));
	return {
		nodes,
		networks: [
			{
				name: "ingress",
				vni: 10,
				ingress: true,
				at: at(10),
				services: numbers.map((one) => ({
					name: `service${one}`,
					backends: addresses(10, one),
					ports: (["tcp", "udp", "sctp"] as const).map((protocol) => ({
						protocol,
						published: 8000 + one,
						target: 80,
					})),
				})),
			},
			{
				name: "blue",
				vni: 5,
				at: at(5),
				services: numbers.map((one) => ({
					name: `service${one}`,
					vip: `10.0.5.${2 + one}`,
					backends: addresses(5, one),
				})),
			},
		],
	};
}

describe.skipIf(reason !== undefined)("rules given to the real nft", () => {
	let namespace: Bun.Subprocess;
	let inside: Exec;
	let texts: string[] = [];

	beforeAll(async () => {
		const script = "mount -t tmpfs run /run && echo up && exec sleep infinity";
		const command = ["setpriv", "--pdeathsig", "KILL", "unshare", "-m", "-n", "sh", "-c", script];
		const child = Bun.spawn(command, { stdout: "pipe" });
		await child.stdout.getReader().read();
		namespace = child;
		inside = (program, args, options) => {
			texts.push(options?.input ?? "");
			const enter = ["-t", String(child.pid), "-m", "-n", "--", program, ...args];
			return exec("nsenter", enter, options);
		};
	});
	afterAll(() => namespace?.kill("SIGKILL"));

	const listed = async () => {
		const text = await inside("nft", ["-s", "list", "ruleset"]);
		return text
			.split(/[\s,]+/)
			.sort()
			.join(" ");
	};

	test("a difference leaves what a whole load would", async () => {
		const steps = [
			scene(0, 0),
			scene(3, 2),
			scene(3, 3),
			scene(1, 5),
			scene(5, 1, 2),
			scene(0, 0, 1),
		];
		const step = new Nft(inside);
		for (const one of steps) {
			texts = [];
			await step.ensure(tables(assignmentOf(one, 1)));
			const whole = texts.some((text) => text.includes("delete table"));
			expect(whole).toBe(one === steps[0]);
			const stepped = await listed();
			await new Nft(inside).ensure(tables(assignmentOf(one, 1)));
			expect(stepped).toBe(await listed());
		}
	});

	test("tables that were flushed are whole again with the next change, or the next check", async () => {
		const nft = new Nft(inside);
		await nft.ensure(tables(assignmentOf(scene(2, 2), 1)));
		const before = await listed();
		await inside("nft", ["flush", "ruleset"]);
		expect(await nft.check()).toBe("repaired");
		expect(await listed()).toBe(before);
		await inside("nft", ["flush", "ruleset"]);
		await nft.ensure(tables(assignmentOf(scene(2, 3), 1)));
		await nft.ensure(tables(assignmentOf(scene(2, 2), 1)));
		expect(await listed()).toBe(before);
		expect(await nft.check()).toBe("same");
		expect(await nft.check()).toBe("same");
	});

	test("removal leaves others' tables, and may be called twice", async () => {
		await inside("nft", ["add", "table", "ip", "theirs"]);
		const nft = new Nft(inside);
		await nft.ensure(tables(assignmentOf(scene(2, 2), 1)));
		await nft.remove();
		await nft.remove();
		expect(await inside("nft", ["list", "tables"])).toBe("table ip theirs\n");
	});

	test.each([
		["no engine yet", []],
		[
			"an engine's chain",
			["-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER"],
		],
		["somebody's rules in it", ["-N DOCKER-USER", "-A DOCKER-USER -s 10.9.9.9 -j DROP"]],
		[
			"a jump that came before",
			[
				"-N DOCKER-USER",
				"-N DOCKER-ISOLATION-STAGE-1",
				"-A FORWARD -j DOCKER-ISOLATION-STAGE-1",
				"-A FORWARD -j DOCKER-USER",
			],
		],
	])("accepts stand first, with %s, and go without a trace", async (_, rules) => {
		const iptables = (line: string) => inside("iptables", line.split(" "));
		for (const chain of ["-F", "-X"]) await iptables(chain);
		for (const rule of rules) await iptables(rule);
		const before = (await iptables("-S")).split("\n");
		for (let turn = 0; turn < 2; turn++) {
			await ensureAccepts(inside, 51820);
			const now = (await iptables("-S")).split("\n");
			const of = (chain: string) => now.filter((rule) => rule.startsWith(`-A ${chain} `));
			expect(of("FORWARD")[0]).toBe("-A FORWARD -j DOCKER-USER");
			expect(of("FORWARD").filter((rule) => rule.includes("DOCKER-USER"))).toHaveLength(1);
			expect(of("DOCKER-USER").slice(0, 3).join()).toMatch(/0x1000000\/.*0x2000000\/.*skein0/);
			expect(of("DOCKER-USER").filter((rule) => rule.includes("skein"))).toHaveLength(3);
			expect(of("INPUT")).toEqual(["-A INPUT -j SKEIN-INPUT"]);
			// A host that drops what comes in must still hear its peers' questions.
			expect(of("SKEIN-INPUT").join("\n")).toContain(
				`-i skein0 -p udp -m udp --dport ${watchPort}`,
			);
		}
		await removeAccepts(inside);
		const after = (await iptables("-S")).split("\n");
		expect(after.filter((rule) => rule.includes("skein") || rule.includes("SKEIN"))).toEqual([]);
		// The chain and its jump are an engine's to have; whoever else has rules in it needs them.
		const kept = before.filter((rule) => !rule.includes("-j DOCKER-USER"));
		expect(after).toEqual(expect.arrayContaining(kept));
	});
});
