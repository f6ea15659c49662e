// `docker skein`, by the real docker CLI: installed by its line, signed in, and then plain docker through the local socket.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Listener, listen } from "../../control-plane/connection/listen.ts";
import { localInstallFiles } from "../../control-plane/installables.ts";
import type { ClusterId } from "../../model/id.ts";
import { parseLimits } from "../../model/limits.ts";
import { run } from "../lab/run.ts";
import { runtimes } from "../runtimes.ts";
import { describeMachine, echo, joinAgent, obey } from "./agent.ts";
import { type Here, startHere } from "./here.ts";
import { startProxy } from "./proxy.ts";

const cli = Bun.which("docker");
const edge = runtimes.find(({ hosted }) => hosted);

describe.skipIf(cli === null)("docker skein", () => {
	let folder: string;
	let here: Here;
	let listener: Listener;
	let url: string;
	let isBreaking = false;
	/** What the environment says besides, while a test is behind a proxy. */
	let behind: Readonly<Record<string, string>> = {};
	/** An organization that gives no tokens. */
	let stingy: string | undefined;
	const off = new AbortController();

	const env = () => ({
		PATH: process.env["PATH"] ?? "",
		HOME: folder,
		DOCKER_CONFIG: `${folder}/d`,
		...behind,
	});
	const docker = (args: string, stdin?: string | Uint8Array) =>
		run(["docker", ...args.split(" ")], {
			env: env(),
			timeoutMs: 30_000,
			...(stdin !== undefined && { stdin }),
		});
	const must = async (args: string, stdin?: string | Uint8Array) => {
		const { code, stdout, stderr } = await docker(args, stdin);
		if (code !== 0) throw new Error(`docker ${args}: ${stdout}${stderr}`);
		return stdout;
	};
	const line = (options = "") =>
		run(["sh", "-c", `curl -fsSL ${url}/cli.sh | sh ${options}`], {
			env: env(),
			timeoutMs: 30_000,
		});
	const post = async <Body>(path: string, body: object): Promise<Body> => {
		const reply = await here.ask(path, {
			method: "POST",
			headers: { "Content-Type": "application/json" },
			body: JSON.stringify(body),
		});
		if (!reply.ok) throw new Error(`${path}: ${await reply.text()}`);
		return (await reply.json()) as Body;
	};
	const pid = async () => Number(/pid (\d+)/.exec(await must("skein status"))?.[1]);

	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), "skein-cli-"));
		here = await startHere(undefined, {
			signIn: { SKEIN_SIGNUP: "open" },
			limits: parseLimits("clusters=5 contents=10MB"),
		});
		const world = { ...here.world, install: localInstallFiles(join(folder, "data")) };
		listener = await listen({ host: "127.0.0.1", port: 0 }, async (request, stdin, upgrade) => {
			if (stingy && request.headers.get("X-Skein-Organization") === stingy) {
				return Response.json({ message: "no tokens today" }, { status: 403 });
			}
			const more = { world, ...(stdin && { stdin }), ...(upgrade && { upgrade }) };
			const reply = await here.fetch(request, more);
			return isBreaking ? breaking(reply) : reply;
		});
		url = `http://127.0.0.1:${listener.port}`;
		await startMachine(url, here.token, off.signal);
	}, 60_000);

	afterAll(async () => {
		await docker("skein logout --all");
		off.abort();
		await listener.stop();
		await here.stop();
		await rm(folder, { recursive: true, force: true });
	}, 30_000);

	test("the line installs it, and does no more the second time", async () => {
		const first = await line();
		expect(first.stderr).toBe("");
		expect(first.stdout).toEndWith(`Next: docker skein login ${url}\n`);
		expect((await line()).stdout).not.toContain("loading");
		expect(await must("--help")).toMatch(/skein\* +Clusters of Skein/);
		expect(await must("skein --help")).toContain("Usage: docker skein COMMAND");
		expect(await must("skein context --help")).toContain("docker --context acme service ls");
	}, 60_000);

	test("a file that is not what was promised is not used", async () => {
		const script = (await (await fetch(`${url}/cli.sh`)).text()).replace(
			/cli\.js [0-9a-f]{64}/,
			`cli.js ${"0".repeat(64)}`,
		);
		const { code, stderr } = await run(["sh", "-s"], {
			env: env(),
			timeoutMs: 30_000,
			stdin: script,
		});
		expect([code, stderr]).toEqual([1, expect.stringContaining("its checksum differs")]);
		expect((await docker("skein --help")).code).toBe(0);
	});

	test.each([
		["skein nonsense", "no command nonsense: docker skein --help"],
		["skein login", "something is missing\nUsage: docker skein login URL"],
		["skein login x --frobnicate", "'--frobnicate'"],
		["skein login ftp://x --token t", "only https:// and http:// lead to an endpoint"],
		["skein login localhost", "there is nobody to ask"],
		["skein clusters", "you are not signed in anywhere: docker skein login URL"],
		["skein logout", "you are not signed in anywhere"],
		["skein login http://127.0.0.1:1 --token t", "http://127.0.0.1:1 cannot be reached"],
	])("docker %s says what is wrong", async (args, said) => {
		const { code, stderr } = await docker(args);
		expect([code, stderr]).toEqual([1, expect.stringContaining(said)]);
	});

	test("a wrong token is refused at once, and nothing is kept", async () => {
		const { code, stderr } = await docker(`skein login ${url} --token -`, "wrong\n");
		expect([code, stderr]).toEqual([1, expect.stringContaining("does not take the token")]);
		expect(await must("skein status")).toContain("signed in: nowhere");
	});

	test("signed in, plain docker goes to the cluster; the credential is the user's alone", async () => {
		expect(await must(`skein login ${url} --token -`, `${here.token}\n`)).toContain("signed in at");
		expect((await stat(`${folder}/d/skein.json`)).mode & 0o777).toBe(0o600);
		expect(await must("skein context default --name acme")).toContain(
			"docker --context acme service ls",
		);
		expect((await stat(`${folder}/d/skein/acme.sock`)).mode & 0o777).toBe(0o600);
		expect((await stat(`${folder}/d/skein`)).mode & 0o777).toBe(0o700);
		await serve("acme");
		expect(await must("--context acme service ls")).toContain("web");
		expect(await must("skein clusters")).toMatch(/default .* acme /);
		expect(await must("--context acme service logs web")).toContain("hello from ");
	}, 60_000);

	/** A service that runs. */
	const serve = async (context: string) => {
		const image = `nginx@sha256:${"a".repeat(64)}`;
		await must(`--context ${context} service create -q --detach --name web ${image}`);
		const isRunning = async () =>
			(await must(`--context ${context} service ps web --format {{.CurrentState}}`)).startsWith(
				"Running",
			);
		while (!(await isRunning())) await Bun.sleep(100);
	};

	const words = "a passphrase, with ümlauts";
	/** Out of a cluster into a file, as the shell does it. */
	const exportTo = (file: string, args: string, more = {}, passphrase = words) =>
		run(["sh", "-c", `docker skein export ${args} --passphrase-stdin >${file}`], {
			env: { ...env(), ...more },
			timeoutMs: 30_000,
			stdin: `${passphrase}\n`,
		});

	/** What a copy has as the first one has it. */
	const copied = async (cluster: string) => {
		const [found] = (await here.world.hosted.of("owner").list()).filter(
			({ name }) => name === cluster,
		);
		const host = await here.world.hosted.host(found?.id as ClusterId);
		const { materials, networks, services } = await host.snapshot();
		const names = [...materials.values()].map(({ id }) => ({ material: id, version: 1 }));
		const contents = await host.contents.read(names);
		return {
			services: [...services.values()].map(({ id, spec }) => ({ id, spec })),
			networks: [...networks.values()],
			contents: [...contents].map(([name, plain]) => [name, new TextDecoder().decode(plain)]),
		};
	};

	describe("a cluster as a file", () => {
		const file = () => join(folder, "default.skein");

		test("comes back under another name, with all that it was; the context follows it", async () => {
			await must("--context acme secret create pw -", "hunter2");
			await must("--context acme network create -d overlay mynet");
			const image = `nginx@sha256:${"b".repeat(64)}`;
			await must(
				`--context acme service create -q --detach --name shop --secret pw --network mynet ${image}`,
			);
			const exported = await exportTo(file(), "default");
			expect([exported.code, exported.stderr]).toEqual([0, ""]);
			const said = await must(
				`skein import ${file()} --name copy --passphrase-stdin`,
				`${words}\n`,
			);
			expect(said).toContain("copy is there: a copy, without machines");
			const [first, second] = [await copied("default"), await copied("copy")];
			expect(first.contents.map(([, plain]) => plain)).toEqual(["hunter2"]);
			expect(first.services).toHaveLength(2);
			expect(second).toEqual(first);

			await must("skein context copy");
			const names = "service ls --format {{.Name}}";
			expect(await must(`--context copy ${names}`)).toBe(await must(`--context acme ${names}`));
			await must("--context acme service rm shop");
			await here.ask("/api/clusters/copy", { method: "DELETE" });
			expect(await must("skein context")).toContain("copy: removed");
		}, 60_000);

		test("nothing is made of one that is cut, or with another passphrase, or with none", async () => {
			await writeFile(`${file()}.cut`, (await readFile(file())).subarray(0, -20));
			const importing = async (path: string, passphrase: string) => {
				const { code, stderr } = await docker(
					`skein import ${path} --name copy --passphrase-stdin`,
					passphrase,
				);
				return [code, stderr] as const;
			};
			const cut = await importing(`${file()}.cut`, words);
			expect(cut).toEqual([1, expect.stringContaining("no whole backup of a cluster")]);
			const other = await importing(file(), "another passphrase");
			expect(other).toEqual([1, expect.stringContaining("the passphrase is not the one")]);
			const short = await importing(file(), "short");
			expect(short).toEqual([1, expect.stringContaining("12 characters or more")]);
			const none = await importing(`${file()}.none`, words);
			expect(none).toEqual([1, expect.stringContaining("there is no file")]);
			expect(await must("skein clusters")).not.toContain("copy");
			const { code, stderr } = await exportTo("/dev/null", "default", {}, "short");
			expect([code, stderr]).toEqual([1, expect.stringContaining("12 characters or more")]);
		}, 60_000);

		test("one that breaks off on the way is said to be none", async () => {
			isBreaking = true;
			const { code, stderr } = await exportTo(`${file()}.broken`, "default");
			isBreaking = false;
			expect([code, stderr]).toEqual([1, expect.stringContaining("broke off")]);
			expect(stderr.trim().split("\n")).toHaveLength(1);
		}, 60_000);

		test("a viewer is refused both, with the role that it takes", async () => {
			const { token } = await post<{ token: string }>("/api/tokens", {
				name: "a viewer's",
				role: "viewer",
			});
			await withPlugin("v");
			const more = { DOCKER_CONFIG: `${folder}/v` };
			const asViewer = (command: string, stdin: string) =>
				run(["sh", "-c", command], { env: { ...env(), ...more }, timeoutMs: 30_000, stdin });
			await asViewer(`docker skein login ${url} --token -`, token);
			const out = await exportTo("/dev/null", "default", more);
			expect([out.code, out.stderr]).toEqual([1, expect.stringContaining("the role admin")]);
			const back = await asViewer(
				`docker skein import ${file()} --name copy --passphrase-stdin`,
				words,
			);
			expect([back.code, back.stderr]).toEqual([1, expect.stringContaining("the role admin")]);
		}, 60_000);
	});

	/** The plugin for another user, as it were. */
	const withPlugin = async (name: string) => {
		const [from, to] = [`${folder}/d`, `${folder}/${name}`];
		const command = `mkdir -p ${to}/skein && cp -r ${from}/cli-plugins ${to}/ && ln ${from}/skein/bun ${from}/skein/cli.js ${to}/skein/`;
		await run(["sh", "-c", command], { env: env(), timeoutMs: 30_000 });
	};

	/** Through the context, to a program that gives back what it is given, and ends with 7. */
	const passThrough = async (context: string) => {
		const sent = new Uint8Array(3_000_017).map((_, at) => at % 251);
		const file = join(folder, "heard");
		const input = join(folder, "sent");
		await writeFile(input, sent);
		// By a shell, since what comes back is bytes.
		const command = `docker --context ${context} exec -i web.1 cat <${input} >${file}`;
		const { code, stderr } = await run(["sh", "-c", command], { env: env(), timeoutMs: 60_000 });
		expect([code, stderr]).toEqual([7, ""]);
		expect(Bun.hash(await readFile(file))).toBe(Bun.hash(sent));
	};

	test("exec's input and output pass, megabytes of them, and its exit code", async () => {
		await passThrough("acme");
	}, 60_000);

	test("through the proxy that the environment names, from the line that installs it to exec's WebSocket", async () => {
		const proxy = await startProxy();
		behind = { DOCKER_CONFIG: `${folder}/p`, http_proxy: `http://127.0.0.1:${proxy.port}` };
		try {
			expect((await line()).code).toBe(0);
			await must(`skein login ${url} --token -`, here.token);
			await must("skein context default --name inside");
			expect(await must("--context inside service ls")).toContain("web");
			await passThrough("inside");
			await must("skein logout --all");
		} finally {
			behind = {};
			await proxy.stop();
		}
		expect(proxy.passed).toContain(`GET ${url}/cli.sh`);
		expect(proxy.passed).toContainEqual(expect.stringContaining(`GET ${url}/c/default/v1.`));
		expect(proxy.passed).toContain(`CONNECT ${new URL(url).host}`);
	}, 60_000);

	test.skipIf(!edge?.there)(
		"a cluster at the edge, beside the other",
		async () => {
			const far = await edge?.start();
			if (!far) return;
			try {
				await startMachine(far.url, far.token, off.signal);
				await must(`skein login ${far.url} --token -`, far.token);
				const { code, stderr } = await docker("skein context default --name far");
				expect([code, stderr]).toEqual([1, expect.stringContaining("say which with --url")]);
				await must(`skein context default --url ${far.url} --name far`);
				await serve("far");
				await passThrough("far");
				expect(await must("--context far service logs web")).toContain("hello from ");
				expect(await must("--context acme service ls -q")).not.toBe(
					await must("--context far service ls -q"),
				);
				const file = join(folder, "far.skein");
				const { code: exported, stderr: why } = await exportTo(file, `default --url ${far.url}`);
				expect([exported, why]).toEqual([0, ""]);
				const importAt = (at: string, name: string) =>
					must(`skein import ${file} --name ${name} --url ${at} --passphrase-stdin`, words);
				expect(await importAt(far.url, "beside")).toContain("a copy, without machines");
				expect(await importAt(url, "home")).toContain("the same cluster");
				await must("skein context beside home");
				for (const context of ["beside", "home"]) {
					expect(await must(`--context ${context} service ls`)).toContain("web");
				}
				await here.ask("/api/clusters/home", { method: "DELETE" });
				await must(`skein logout ${far.url}`);
				await must(`skein context --url ${url}`);
				expect(await must("context ls -q")).toBe("acme\ndefault\n");
			} finally {
				await far.stop();
			}
		},
		90_000,
	);

	test("a password is exchanged for a token of this machine's own, which logout takes back", async () => {
		const { invitation } = await post<{ invitation: string }>(
			"/api/organizations/owner/invitations",
			{ role: "developer" },
		);
		const person = { name: "Ada", email: "ada@example.com", password: "correct horse battery" };
		await post("/api/auth/sign-up/email", { ...person, invitation });
		const adas = { ...env(), DOCKER_CONFIG: `${folder}/a` };
		const asAda = (command: string, stdin = "") =>
			run(["sh", "-c", command], { env: adas, timeoutMs: 30_000, stdin });
		await withPlugin("a");
		const login = `docker skein login ${url} --email ${person.email}`;
		const wrong = await asAda(`${login} --password-stdin`, "wrong");
		expect([wrong.code, wrong.stderr]).toEqual([
			1,
			expect.stringContaining("could not be signed in"),
		]);
		// By a terminal: what is typed is not shown.
		const typing = Bun.spawn(["script", "-qec", login, "/dev/null"], {
			env: adas,
			stdin: "pipe",
			stdout: "pipe",
			timeout: 30_000,
		});
		let shown = "";
		for await (const bytes of typing.stdout) {
			const isAsked = shown.includes("Password: ");
			shown += new TextDecoder().decode(bytes);
			if (!isAsked && shown.includes("Password: ")) typing.stdin.write(`${person.password}\n`);
		}
		expect(shown).toContain(`signed in at ${url} as ${person.email}`);
		expect(shown).not.toContain(person.password);
		const text = await readFile(`${folder}/a/skein.json`, "utf8");
		expect(text).not.toContain(person.password);
		const { token } = JSON.parse(text).logins[0];
		const account = () =>
			fetch(`${url}/api/account`, { headers: { Authorization: `Bearer ${token}` } });
		expect((await account()).status).toBe(200);
		expect((await asAda("docker skein context default --name work")).stdout).toContain(
			"work: made",
		);
		expect((await asAda("docker --context work service ls")).stdout).toContain("web");
		const refused = await asAda("docker --context work node update --availability drain vm1");
		expect(refused.stderr).toContain("this takes the role admin");
		expect((await asAda("docker skein logout")).stdout).toContain("signed out");
		expect((await account()).status).toBe(401);
	}, 60_000);

	describe("somebody of two organizations", () => {
		const email = "grace@example.com";
		const password = "correct horse battery";
		const asGrace = async (command: string, stdin = "") => {
			const more = { ...env(), DOCKER_CONFIG: `${folder}/g` };
			const args = ["sh", "-c", `docker ${command}`];
			const { code, stdout, stderr } = await run(args, { env: more, timeoutMs: 30_000, stdin });
			return { code, stdout, stderr };
		};
		const login = () => asGrace(`skein login ${url} --email ${email} --password-stdin`, password);
		const file = () => `${folder}/g/skein.json`;
		const logins = async () =>
			JSON.parse(await readFile(file(), "utf8")).logins as {
				token: string;
				organization: { id: string; name: string };
				contexts: object;
			}[];
		const isGood = async (token: string) =>
			(await fetch(`${url}/api/account`, { headers: { Authorization: `Bearer ${token}` } })).ok;
		let own = "";

		beforeAll(async () => {
			const { token } = await post<{ token: string }>("/api/auth/sign-up/email", {
				...{ name: "Grace", email, password },
			});
			const asked = async (path: string, body: object) => {
				const init = { method: "POST", headers: { Authorization: `Bearer ${token}` } };
				const reply = await fetch(`${url}${path}`, { ...init, body: JSON.stringify(body) });
				if (!reply.ok) throw new Error(`${path}: ${await reply.text()}`);
				return reply.json();
			};
			const { invitation } = await post<{ invitation: string }>(
				"/api/organizations/owner/invitations",
				{ role: "developer" },
			);
			await asked("/api/invitations/accept", { invitation });
			const { organization } = (await asked("/api/clusters", { name: "hers" })) as {
				organization: string;
			};
			own = organization;
			await withPlugin("g");
		}, 30_000);

		test("signs in for both at once; contexts lead to the clusters of each", async () => {
			const { stdout, stderr } = await login();
			expect(stderr).toBe("");
			expect(stdout).toContain(`signed in at ${url} as ${email}`);
			expect(stdout).toContain("Grace: clusters: hers\n");
			expect(stdout).toContain("owner: clusters: default");
			const listed = (await asGrace("skein clusters")).stdout;
			expect(listed).toMatch(/default +owner +- /);
			expect(listed).toMatch(/hers +Grace +- /);
			const made = await asGrace("skein context Grace/hers owner/default");
			expect(made.stdout).toContain("hers: made");
			expect(made.stdout).toContain("skein: made");
			expect((await asGrace("--context skein network ls")).stdout).not.toContain("net-of-grace");
			await asGrace("--context hers network create -d overlay net-of-grace");
			expect((await asGrace("--context hers network ls")).stdout).toContain("net-of-grace");
			const usage = (await asGrace("skein usage")).stdout;
			expect(usage).toContain(`Grace at ${url}: clusters 1 of 5\n`);
			expect(usage).toMatch(
				/CLUSTER +NODES +SERVICES +TASKS +CONTENTS\nhers +0 +0 +0 +0 B of 10 MB\n/,
			);
			const none = await asGrace("skein context owner/hers");
			expect([none.code, none.stderr]).toEqual([
				1,
				expect.stringContaining("no cluster owner/hers in your reach"),
			]);
		}, 60_000);

		test("a file is imported for the organization that is said", async () => {
			const file = join(folder, "none.skein");
			await writeFile(file, "no file of a cluster");
			const importing = async (option: string) =>
				(await asGrace(`skein import ${file} ${option} --passphrase-stdin`, words)).stderr;
			expect(await importing("--name x")).toContain("say which with --organization");
			expect(await importing("--organization none")).toContain("not for none");
			expect(await importing("--organization owner")).toContain("takes the role admin");
			// There she may, and so the file is looked into.
			expect(await importing("--organization Grace")).toContain("no whole backup");
		}, 60_000);

		test("one token that is refused is said, and the others are kept", async () => {
			const before = await logins();
			stingy = own;
			const { code, stdout, stderr } = await login();
			stingy = undefined;
			expect([code, stderr]).toEqual([0, "no token for Grace: no tokens today\n"]);
			expect(stdout).toContain("clusters: default");
			const tokenOf = (all: typeof before, id: string) =>
				all.find(({ organization }) => organization.id === id)?.token ?? "";
			const after = await logins();
			expect(after).toHaveLength(2);
			expect(tokenOf(after, own)).toBe(tokenOf(before, own));
			expect(await isGood(tokenOf(before, "owner"))).toBe(false);
			for (const context of ["skein", "hers"]) {
				expect((await asGrace(`--context ${context} service ls`)).code).toBe(0);
			}
		}, 60_000);

		test("one that is good no more keeps nobody from the other's clusters", async () => {
			const text = await readFile(file(), "utf8");
			const [first] = (await logins()).filter(({ organization }) => organization.id === own);
			await writeFile(file(), text.replace(first?.token ?? "", "revoked"));
			const { code, stdout, stderr } = await asGrace("skein clusters");
			await writeFile(file(), text);
			expect([code, stdout]).toEqual([0, expect.stringContaining("default")]);
			expect(stdout).not.toContain("hers");
			expect(stderr).toContain("does not take the token");
		}, 60_000);

		test("a file of an earlier version goes on working; signing in again makes it new", async () => {
			const old = (await logins()).map(({ organization: _, ...rest }) => rest);
			const [hers] = old.filter(({ contexts }) => "hers" in contexts);
			await writeFile(file(), JSON.stringify({ logins: [hers] }));
			expect((await asGrace("skein status")).stdout).toContain(`${url}: signed in as ${email}`);
			expect((await asGrace("--context hers network ls")).stdout).toContain("net-of-grace");
			expect((await login()).stderr).toBe("");
			expect((await logins()).map((each) => each.organization.name).sort()).toEqual([
				"Grace",
				"owner",
			]);
			expect((await asGrace("--context hers network ls")).stdout).toContain("net-of-grace");
		}, 60_000);

		test("signing out takes both tokens back", async () => {
			const tokens = (await logins()).map(({ token }) => token);
			expect(await Promise.all(tokens.map(isGood))).toEqual([true, true]);
			const { stdout } = await asGrace(`skein logout ${url}`);
			expect(stdout).toBe(`signed out of ${url}\n`);
			expect(await Promise.all(tokens.map(isGood))).toEqual([false, false]);
			expect(await logins()).toEqual([]);
		}, 60_000);
	});

	test("a forgotten password is replaced by a code, where no mail is sent by the operator's", async () => {
		const email = "grace@example.com";
		const asked = await docker(`skein password ${url} --email ${email}`);
		expect([asked.code, asked.stderr]).toEqual([
			1,
			expect.stringContaining("POST /api/users/password-reset"),
		]);
		const { code } = await post<{ code: string }>("/api/users/password-reset", { email });
		const reset = (word: string) =>
			docker(`skein password ${url} --code ${code} --password-stdin`, word);
		expect((await docker(`skein password ${url}`)).stderr).toContain("give one of them");
		expect((await reset("short")).stderr).toContain("newPassword: ");
		expect((await reset("another horse battery")).stdout).toContain("your password is another now");
		expect((await reset("another horse battery")).stderr).toContain("token: this code was used");
		const body = { email, password: "another horse battery" };
		await post("/api/auth/sign-in/email", body);
	}, 60_000);

	test("a context of the user's own is left alone", async () => {
		await must("context create mine --docker host=unix:///run/mine.sock");
		const { code, stderr } = await docker("skein context default --name mine");
		expect([code, stderr]).toEqual([1, expect.stringContaining("leads to unix:///run/mine.sock")]);
		await must("skein logout");
		expect(await must("context ls -q")).toBe("default\nmine\n");
		await must(`skein login ${url} --token -`, here.token);
		await must("skein context default --name acme");
	}, 60_000);

	test("killed, the local socket comes back with the next command", async () => {
		const before = await pid();
		process.kill(before, "SIGKILL");
		const { stderr } = await docker("--context acme service ls");
		expect(stderr).toContain("Cannot connect to the Docker daemon");
		expect(await pid()).not.toBe(before);
		expect(await must("--context acme service ls")).toContain("web");
	}, 30_000);

	test("started by many at once, it is there once", async () => {
		await must("skein stop");
		const states = await Promise.all([1, 2, 3, 4].map(() => pid()));
		expect(new Set(states).size).toBe(1);
	}, 30_000);

	test("a token that is good no more is said so, with the remedy", async () => {
		const file = `${folder}/d/skein.json`;
		await writeFile(file, (await readFile(file, "utf8")).replace(here.token, "revoked"));
		expect(await must("skein status")).toContain("does not take the token");
		for (const args of ["--context acme service ls", "--context acme exec -i web.1 cat"]) {
			const { code, stderr } = await docker(args, "");
			expect(code).toBe(1);
			expect(stderr).toContain(`docker skein login ${url}`);
		}
		await must(`skein login ${url} --token -`, here.token);
		expect(await must("--context acme service ls")).toContain("web");
	}, 30_000);

	test("signed out, nothing of it is left: no context, no socket, no process; uninstalled, no file", async () => {
		const running = await pid();
		expect((await line("-s -- --uninstall")).stdout).toContain("docker skein is gone");
		expect(() => process.kill(running, 0)).toThrow();
		expect(await must("context ls -q")).toBe("default\nmine\n");
		const left = await run(["find", `${folder}/d`, "-name", "*skein*"], { timeoutMs: 5_000 });
		expect(left.stdout).toBe("");
	}, 30_000);
});

/** An answer whose connection ends in the middle of its body. */
function breaking(reply: Response): Response {
	if (!reply.headers.get("Content-Type")?.includes("skein.cluster")) return reply;
	const [first] = [reply.body?.getReader()];
	const body = new ReadableStream({
		async pull(to) {
			const read = await first?.read();
			if (read?.value) to.enqueue(read.value);
			await Bun.sleep(10);
			to.error(new Error("the database is gone"));
		},
	});
	return new Response(body, { headers: reply.headers });
}

/** On which everything works. */
async function startMachine(url: string, token: string, signal: AbortSignal): Promise<void> {
	const reply = await fetch(`${url}/swarm`, { headers: { Authorization: `Bearer ${token}` } });
	const { JoinTokens } = (await reply.json()) as { JoinTokens: { Worker: string } };
	const agent = await joinAgent(url, JoinTokens.Worker, describeMachine(1));
	void obey(agent, signal, (request) => echo(agent, request));
}
