// Containers on other machines, by the docker CLI as it is: seen, read, entered and stopped from where the person sits.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import { ensureRoot } from "../lab/roots.ts";
import { run, start } from "../lab/run.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const nodes = [
	{ name: "h1", suite: "bookworm" },
	{ name: "h2", suite: "trixie" },
	{ name: "h3", suite: "sid" },
] as const;

const program = `echo started; echo oops >&2; trap 'echo stopping; exit 0' TERM; while :; do sleep 0.2; done`;

describe.skipIf(Boolean(reason))("containers on other machines", () => {
	let cluster: TestCluster;
	/** The containers of `web`, by the node that they are on. */
	const on: Record<string, { id: string; name: string; task: string }> = {};

	const docker = (line: string) => cluster.docker(line);
	const look = async (service = "web") => {
		const format = `--format '{{.ID}} {{.Names}} {{.State}} {{.Label "skein.node"}}'`;
		const lines = (await docker(`ps --no-trunc -f name=^/${service}\\. ${format}`)).trim();
		return lines.split("\n").map((line) => {
			const [id = "", name = "", state = "", node = ""] = line.split(" ");
			return { id, name, state, node, task: name.split(".")[2] ?? "" };
		});
	};

	beforeAll(async () => {
		cluster = await startCluster({ nodes });
		await docker("network create -d overlay net");
		await cluster.docker(
			`service create -q --name web --mode global --network net --stop-grace-period 3s --restart-delay 200ms ` +
				`--publish mode=host,target=80,published=8085 --env GREETING=hello lab/busybox:1 sh -c "${program}"`,
			{ timeoutMs: 180_000 },
		);
		for (const found of await look()) on[found.node] = found;
		expect(Object.keys(on).sort()).toEqual(["h1", "h2", "h3"]);
	}, 900_000);

	afterAll(async () => {
		await cluster?.stop();
	}, 60_000);

	const at = (node: string) => {
		const found = on[node];
		if (!found) throw new Error(`nothing runs on ${node}`);
		return found;
	};

	describe.each(nodes.map(({ name, suite }) => [name, suite]))("on %s, %s", (node) => {
		test("ps tells state, image, command, port, and the node as a label", async () => {
			const format = '--format "{{.Names}}|{{.Image}}|{{.State}}|{{.Status}}|{{.Ports}}"';
			const [line = ""] = (await docker(`ps -f node=${node} ${format}`)).trim().split("\n");
			expect(line).toMatch(
				new RegExp(`^${at(node).name}\\|lab/busybox:1\\|running\\|Up .*\\|0.0.0.0:8085->80/tcp$`),
			);
			expect((await docker(`port ${at(node).name}`)).trim()).toContain("80/tcp -> 0.0.0.0:8085");
		});

		test("found by name, id, its beginning, slot and task, and asked for the truth", async () => {
			const { id, name, task } = at(node);
			const inNode = (
				await cluster.lab.node(node).must(["docker", "inspect", "-f", "{{.State.Pid}}", id])
			).trim();
			for (const asked of [name, id, id.slice(0, 12), `web.${node}`, task]) {
				const said = await docker(`container inspect -f "{{.Id}} {{.State.Pid}}" ${asked}`);
				expect([asked, said.trim()]).toEqual([asked, `${id} ${inNode}`]);
			}
			const ofTask = await docker(
				`inspect -f "{{.NodeID}} {{.Status.State}} {{.State.Status}}" ${task}`,
			);
			expect(ofTask).toMatch(/^\w{25} running/);
		});

		test("logs come with tail and times, to the stream they were said on", async () => {
			const { name } = at(node);
			const ran = await cluster.tryDocker(`logs ${name}`);
			expect([ran.stdout, ran.stderr]).toEqual(["started\n", "oops\n"]);
			expect(await docker(`logs --tail 1 --timestamps ${name}`)).toMatch(
				/^(\d{4}-\d\d-\d\dT\S+Z started\n)?$/,
			);
			const later = await cluster.tryDocker(`logs --since 2100-01-01T00:00:00Z ${name}`);
			expect([later.code, later.stdout]).toEqual([0, ""]);
		});

		test("exec: environment, user, directory", async () => {
			const { name } = at(node);
			const line = `exec -e A=b -u user -w /tmp ${name} sh -c 'echo $A $GREETING $(id -un) $(pwd)'`;
			expect(await docker(line)).toBe("b hello user /tmp\n");
		});

		test.each([
			["sh -c 'exit 0'", [0]],
			["sh -c 'exit 3'", [3]],
			["/etc/passwd", [126]],
			// Engines before 28 have one code for both.
			["no-such-program", [126, 127]],
		])("exec %s ends as it does on the node itself", async (command, codes) => {
			const { id, name } = at(node);
			const there = { env: { DOCKER_HOST: `unix://${cluster.lab.node(node).docker}` } };
			const ours = await cluster.tryDocker(`exec ${name} ${command}`);
			expect(ours).toEqual(await cluster.tryDocker(`exec ${id} ${command}`, there));
			expect(codes).toContain(ours.code);
		});

		test("what is piped in comes out as it was, some megabytes of it", async () => {
			const stdin = new Uint8Array(6 * 1024 * 1024 + 13);
			for (let n = 0; n < stdin.length; n += 65_536) {
				crypto.getRandomValues(stdin.subarray(n, n + 65_536));
			}
			const sum = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
			const { name } = at(node);
			const counted = await cluster.docker(`exec -i ${name} sha256sum`, { stdin });
			expect(counted.split(" ")[0]).toBe(sum(stdin));
			const { cli } = cluster;
			const copied = Bun.spawn([cli.path, "exec", "-i", name, "cat"], {
				env: cli.env,
				stdin,
				stdout: "pipe",
				timeout: 60_000,
			});
			expect(sum(new Uint8Array(await new Response(copied.stdout).arrayBuffer()))).toBe(sum(stdin));
			expect(await copied.exited).toBe(0);
		}, 90_000);

		test("exec -it has a terminal, with its size and its exit code", async () => {
			const { cli } = cluster;
			const typed = `stty cols 91 rows 33; ${cli.path} exec -it ${at(node).name} sh`;
			const said = await run(["script", "-qec", typed, "/dev/null"], {
				env: { ...cli.env, SHELL: "/bin/sh", TERM: "dumb" },
				// The size comes a moment after the start, as from a docker of its own.
				stdin: slowly([
					"until stty size 2>/dev/null; do sleep 0.1; done\n",
					"echo $((40 + 2))\n",
					"tty\n",
					"exit 5\n",
				]),
				timeoutMs: 60_000,
			});
			expect(said.stdout).toContain("33 91");
			expect(said.stdout).toContain("42");
			expect(said.stdout).toContain("/dev/pts/0");
			expect(said.code).toBe(5);
		}, 60_000);

		test("exec -d leaves it running there", async () => {
			const { name } = at(node);
			await docker(`exec -d ${name} sleep 31`);
			expect(await docker(`top ${name}`)).toContain("sleep 31");
		});

		test("top and stats", async () => {
			const { name } = at(node);
			expect(await docker(`top ${name} -o pid,args`)).toContain("sh -c echo started");
			const stats = await docker(`stats --no-stream --format "{{.Name}} {{.CPUPerc}}" ${name}`);
			expect(stats.trim()).toMatch(new RegExp(`^${name} \\d+\\.\\d+%$`));
		}, 60_000);

		test("cp, in and out", async () => {
			const { name } = at(node);
			const file = join(cluster.data, `copied-${node}`);
			await Bun.write(file, `for ${node}\n`.repeat(50_000));
			await docker(`cp ${file} ${name}:/tmp/copied`);
			await docker(`cp ${name}:/tmp/copied ${file}.back`);
			expect(readFileSync(`${file}.back`)).toEqual(readFileSync(file));
			expect((await cluster.tryDocker(`cp ${name}:/nope ${file}.no`)).stderr).toMatch(
				/Could not find the file \/nope/,
			);
		});
	});

	test("stats of several at once, and ps of all", async () => {
		const lines = (await docker('stats --no-stream --format "{{.Name}}"')).trim().split("\n");
		expect(lines.sort()).toEqual(
			Object.values(on)
				.map(({ name }) => name)
				.sort(),
		);
		expect((await docker("ps -q")).trim().split("\n").length).toBe(3);
		expect(await docker("container ls -q")).toBe(await docker("ps -q"));
	}, 60_000);

	test("an older CLI, and one that comes over TCP with the token", async () => {
		const { cli, lab, data } = cluster;
		const { name } = at("h3");
		const old = join(await ensureRoot("bookworm"), "usr/bin/docker");
		const older = [old, "exec", "-i", name, "sh", "-c", "cat; exit 6"];
		const ran = await run(older, { env: cli.env, stdin: "piped\n" });
		expect(ran).toEqual({ code: 6, stdout: "piped\n", stderr: "" });
		const env = {
			DOCKER_HOST: "tcp://192.168.77.254:8787",
			DOCKER_CUSTOM_HEADERS: `Authorization=Bearer ${(await Bun.file(join(data, "token")).text()).trim()}`,
		};
		const far = [cli.path, "exec", "-i", name, "sha256sum"];
		const stdin = new Uint8Array(3_000_001).fill(7);
		const sum = new Bun.CryptoHasher("sha256").update(stdin).digest("hex");
		expect((await lab.client.must(far, { env, stdin })).split(" ")[0]).toBe(sum);
		const stranger = await lab.client.exec(far, { env: { DOCKER_HOST: env.DOCKER_HOST } });
		expect([stranger.code, stranger.stderr]).toEqual([
			1,
			expect.stringContaining("this endpoint wants a token"),
		]);
	}, 60_000);

	test("attach reads what is said from then on, and ends with its end", async () => {
		await docker(
			`service create -q -d --name talker --replicas 1 --network net --restart-condition none lab/busybox:1 sh -c "sleep 6; echo last words; exit 4"`,
		);
		await until("it runs", async () => (await look("talker"))[0]?.state === "running");
		const ran = await cluster.tryDocker("attach --no-stdin talker.1");
		expect([ran.code, ran.stdout]).toEqual([4, "last words\n"]);
		// It ended a moment ago, and is still there to be asked.
		expect(await docker("logs talker.1")).toBe("last words\n");
		expect(
			(await docker('inspect -f "{{.State.Status}} {{.State.ExitCode}}" talker.1')).trim(),
		).toBe("exited 4");
		expect(await docker('ps -a -f name=talker --format "{{.Status}}"')).toMatch(
			/^Exited \(4\) .* ago/,
		);
		const dead = await cluster.tryDocker("exec talker.1 true");
		expect([dead.code, dead.stderr]).toEqual([
			1,
			expect.stringMatching(/[Cc]ontainer \w{64} is not running/),
		]);
		await docker("service rm talker");
	}, 90_000);

	test("a CLI that is killed leaves nothing behind, at the control plane or on the node", async () => {
		const { cli } = cluster;
		const { name } = at("h2");
		const going = [
			start([cli.path, "logs", "-f", name], 0, { env: cli.env }),
			start([cli.path, "exec", "-i", name, "cat"], 0, {
				env: cli.env,
				stdin: slowly(["x"], 60_000),
			}),
			start([cli.path, "stats", name], 0, { env: cli.env }),
		];
		const node = cluster.lab.node("h2");
		/** The agent's lines to the control plane: its poll, a report now and then, and what it carries for others. */
		const lines = async () =>
			(await node.must(["ss", "-tnH", "state", "established", "dport", "=", ":8787"]))
				.trim()
				.split("\n").length;
		/** The engine keeps ends that nobody holds until it tidies up: their peer is 0. */
		const held = async () =>
			(await node.must(["ss", "-xH", "state", "connected"]))
				.split("\n")
				.filter((line) => /docker\.sock \d+ +\* [1-9]/.test(line)).length;
		const cats = async () => / cat$/m.test(await docker(`top ${name} -o pid,args`));
		await until("they are served", async () => (await cats()) && (await lines()) >= 5);
		const before = await held();
		for (const each of going) each.kill("SIGKILL");
		await until("the engine is left alone", async () => (await held()) <= before - 3);
		await until("so is the control plane", async () => (await lines()) <= 2);
		await until("what was entered has ended", async () => !(await cats()));
	}, 90_000);

	test.each(["h1", "h2", "h3"])(
		"kill, restart and stop on %s: another takes its place",
		async (node) => {
			for (const verb of ["kill", "restart", "stop"]) {
				const { id, name } = at(node);
				expect((await docker(`${verb} ${name}`)).trim()).toBe(name);
				await until(`another runs on ${node} after ${verb}`, async () => {
					const found = (await look()).find((each) => each.node === node);
					if (!found || found.id === id || found.state !== "running") return false;
					on[node] = found;
					return true;
				});
				// The one before is kept, with its last words.
				if (verb !== "kill") expect(await docker(`logs ${id}`)).toContain("stopping");
			}
		},
		180_000,
	);

	test.each([
		["rm -f", /use docker service scale web=N or docker service rm web/],
		["start", /use docker service update --force web/],
		["pause", /use docker service update web/],
		["rename", /use docker service update web/],
	])("%s is refused with the remedy", async (verb, words) => {
		const more = verb === "rename" ? " other" : "";
		const ran = await cluster.tryDocker(`${verb} ${at("h1").name}${more}`);
		expect(ran.code).toBe(1);
		expect(ran.stderr).toMatch(words);
	});

	test("run is refused with the remedy, and a privileged exec too", async () => {
		expect((await cluster.tryDocker("run lab/busybox:1 true")).stderr).toContain(
			"docker service create",
		);
		const ran = await cluster.tryDocker(`exec --privileged ${at("h1").name} true`);
		expect(ran.stderr).toContain("exec --privileged would give more than the service has");
	});

	test("service logs of all nodes: tail, times, details, since", async () => {
		const all = await cluster.tryDocker("service logs --raw --tail 1 --timestamps --details web");
		const lines = `${all.stdout}${all.stderr}`.trim().split("\n");
		for (const { task } of Object.values(on)) {
			expect(lines.filter((line) => line.includes(`com.docker.swarm.task.id=${task}`)).length).toBe(
				1,
			);
		}
		for (const line of lines) expect(line).toMatch(/^\d{4}-\S+Z com\.docker\.swarm\.node\.id=/);
		const later = await cluster.tryDocker("service logs --since 2100-01-01T00:00:00Z web");
		expect([later.code, later.stdout]).toEqual([0, ""]);
	});

	test("events of services, filtered, since and until", async () => {
		const sinceS = Math.floor(Date.now() / 1000);
		await docker("service create -q -d --name brief --replicas 0 lab/busybox:1 true");
		await docker("service rm brief");
		const untilS = Math.floor(Date.now() / 1000) + 1;
		const format = `--format '{{.Type}} {{.Action}} {{index .Actor.Attributes "name"}}'`;
		const of = (filters: string) =>
			docker(`events --since ${sinceS} --until ${untilS} ${filters} ${format}`);
		expect(await of("-f service=brief")).toBe("service create brief\nservice remove brief\n");
		expect(await of("-f type=service -f event=remove")).toBe("service remove brief\n");
		expect(await of("-f type=node")).toBe("");
	}, 60_000);

	test("containers that are not Skein's are not there", async () => {
		const node = cluster.lab.node("h1");
		const id = (
			await node.must(["docker", "run", "-d", "--name", "mine", "lab/busybox:1", "sleep", "999"])
		).trim();
		for (const asked of ["mine", id]) {
			const ran = await cluster.tryDocker(`exec ${asked} true`);
			expect(ran.stderr).toContain(`No such container: ${asked}`);
		}
		expect(await docker("ps -a --no-trunc -q")).not.toContain(id);
		await node.must(["docker", "rm", "-f", "mine"]);
	}, 60_000);

	test("volumes of tasks: each with its node, kept while in use and after, gone when told to", async () => {
		const listed = async () => {
			const lines = await docker(`volume ls --format '{{.Label "skein.node"}}/{{.Name}}'`);
			return lines.trim().split("\n").filter(Boolean).sort();
		};
		const everywhere = ["h1/stuff", "h2/stuff", "h3/stuff"];
		const h1 = cluster.lab.node("h1");
		await h1.must(["docker", "volume", "create", "mine"]);
		await docker(
			"service create -q --name store --mode global --mount type=volume,source=stuff,target=/stuff lab/busybox:1 sleep 999",
		);
		expect(await listed()).toEqual(everywhere);
		expect(await docker("volume inspect -f '{{.Name}} {{.Mountpoint}}' h2/stuff")).toBe(
			"stuff /var/lib/docker/volumes/stuff/_data\n",
		);
		const refused = async (line: string) => {
			const ran = await cluster.tryDocker(line);
			expect(ran.code).toBe(1);
			return ran.stderr;
		};
		expect(await refused("volume rm stuff")).toContain("say which: h1/stuff, h2/stuff, h3/stuff");
		expect(await refused("volume rm h2/stuff")).toContain("on node h2 is in use by store.");
		expect(await refused("volume rm mine")).toContain("no such volume");
		await docker("volume prune -af");
		expect(await listed()).toEqual(everywhere);
		await docker("service rm store");
		await until("its containers are gone", async () => {
			const left = await docker("ps -aq -f label=com.docker.swarm.service.name=store");
			return left.trim() === "";
		});
		expect(await listed()).toEqual(everywhere);
		await until("h3 lets go of it", async () => {
			return (await cluster.tryDocker("volume rm h3/stuff")).code === 0;
		});
		await until("the rest goes together", async () => {
			await docker("volume prune -af");
			return (await listed()).length === 0;
		});
		expect((await h1.must(["docker", "volume", "ls", "-q"])).trim().split("\n")).toEqual(["mine"]);
	}, 180_000);

	test("a task whose memory ran out says so, on every engine", async () => {
		const greedy = "sleep 1; head -c 200000000 /dev/zero | tail";
		await docker(
			`service create -q -d --name big --mode global --restart-condition none --limit-memory 20m lab/busybox:1 sh -c "${greedy}"`,
		);
		const said = async () => {
			const lines = await docker(`service ps big --no-trunc --format '{{.Node}} {{.Error}}'`);
			return lines.trim().split("\n").sort();
		};
		await until("each has ended", async () => (await said()).every((line) => line.includes("137")));
		expect(await said()).toEqual(
			["h1", "h2", "h3"].map(
				(node) => `${node} "task: non-zero exit (137): out of memory (limit 20 MiB)"`,
			),
		);
		await docker("service rm big");
	}, 120_000);

	test("a node that goes down ends what is read from it, and is named", async () => {
		const { cli } = cluster;
		const { name, id } = at("h3");
		const followed = start([cli.path, "service", "logs", "-f", "--raw", "web"], 0, {
			env: cli.env,
		});
		const heard = collect(followed.stdout);
		const alsoHeard = collect(followed.stderr);
		const attached = run([cli.path, "exec", "-i", name, "cat"], {
			env: cli.env,
			stdin: slowly(["x"], 120_000),
			timeoutMs: 100_000,
		});
		await until("it is followed", async () => heard().includes("started"));
		await cluster.lab.node("h3").stop();
		await until("the stream says so", async () =>
			/no log from node h3: (the line to the node broke|it went down)/.test(heard() + alsoHeard()),
		);
		followed.kill("SIGKILL");
		expect((await attached).code).not.toBe(124);
		const logs = await cluster.tryDocker(`logs ${name}`);
		expect([logs.code, logs.stderr]).toEqual([1, expect.stringContaining("node h3: it is down")]);
		const service = await cluster.tryDocker("service logs --raw web");
		expect(service.code).toBe(0);
		expect(service.stderr + service.stdout).toContain("(no log from node h3: it is down)");
		expect(service.stdout).toContain("started");
		const ran = await cluster.tryDocker(`exec ${id} true`);
		expect(ran.stderr).toContain("node h3: it is down");
		const error = await docker(`container inspect -f "{{.State.Error}}" ${name}`);
		expect(error).toContain("node h3: it is down; this is what it last reported");
	}, 180_000);
});

/** Each after a moment, as a person types; then open for as long as told. */
function slowly(texts: readonly string[], thenMs = 500): ReadableStream<Uint8Array> {
	const left = [...texts];
	return new ReadableStream({
		async pull(to) {
			await Bun.sleep(left.length > 0 ? 700 : thenMs);
			const text = left.shift();
			if (text === undefined) to.close();
			else to.enqueue(new TextEncoder().encode(text));
		},
	});
}

function collect(stream: ReadableStream<Uint8Array>): () => string {
	let text = "";
	void (async () => {
		for await (const bytes of stream) text += new TextDecoder().decode(bytes);
	})().catch(() => undefined);
	return () => text;
}
