// The install line where systemd is the init: the unit, what it does when the agent dies, hangs or is replaced, a reboot,
// the end. A node whose first process is systemd, in namespaces of the lab.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { appendFile, copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";
import { remains } from "./remains.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const installed = "/usr/local/lib/skein";

describe.skipIf(Boolean(reason))("under systemd", () => {
	let cluster: TestCluster;
	let s1: LabNode;
	/** The task's container, from the first test to the reboot. */
	let container = "";

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: [{ name: "s1", suite: "bookworm", init: "systemd" }],
			env: { SKEIN_AGENT_SOAK_MS: "1000" },
		});
		s1 = cluster.lab.node("s1");
	}, 600_000);
	afterAll(() => cluster?.stop(), 60_000);

	const sh = (script: string) => s1.must(["sh", "-c", script]);
	const stateOf = async (what: string) => (await s1.exec(["systemctl", what])).stdout.trim();
	const unit = async (property: string) =>
		(await sh(`systemctl show -P ${property} skein-agent`)).trim();
	const containers = async () => (await sh("docker ps -q --filter name=^web")).trim();
	const serves = () =>
		until("the published port answers", async () => {
			const line = ["curl", "-sf", "-m", "2", `http://${s1.address}:8080/whoami`];
			return (await cluster.lab.client.exec(line)).code === 0;
		});
	const another = (before: string) =>
		until("another agent runs", async () => !["0", before].includes(await unit("MainPID")));

	test("the install line makes a unit that is enabled and active; a task serves", async () => {
		expect(await stateOf("is-system-running")).toBe("running");
		expect(await unit("UnitFileState")).toBe("enabled");
		expect(await unit("ActiveState")).toBe("active");
		await cluster.docker("service create -q --name web --publish 8080:80 nginx:1.22", {
			timeoutMs: 120_000,
		});
		await serves();
		container = await containers();
	}, 600_000);

	test("a killed agent is started again, and the task runs on", async () => {
		const before = await unit("MainPID");
		await sh(`kill -9 ${before}`);
		await another(before);
		expect(await containers()).toBe(container);
		await serves();
	}, 600_000);

	test("the line run again changes nothing", async () => {
		const identity = () => sh("cat /var/lib/skein-agent/identity.json");
		const before = await identity();
		const ran = await cluster.join(s1);
		expect(`${ran.code} ${ran.stderr}`).toBe("0 ");
		expect(ran.stdout).toContain("already");
		expect(ran.stdout).not.toContain("loading");
		expect(await identity()).toBe(before);
		expect(await unit("ActiveState")).toBe("active");
		expect(await containers()).toBe(container);
	}, 600_000);

	/** A control plane that serves the agent so changed. */
	async function upgrade(change: (agent: string) => string, runtime?: string) {
		const agent = await readFile(join(cluster.data, "install/agent.js"), "utf8");
		const next = change(agent);
		expect(next).not.toBe(agent);
		await cluster.upgrade(next, runtime);
	}
	const sumOfRuntime = async () => {
		const [sum] = (await sh(`sha256sum /proc/${await unit("MainPID")}/exe`)).split(" ");
		return sum;
	};

	test("a program and a runtime that are newer take over; the task runs on", async () => {
		const [before, old] = [await unit("MainPID"), await sumOfRuntime()];
		const newer = join(cluster.data, "bun");
		await copyFile(process.execPath, newer);
		await appendFile(newer, "\n");
		await upgrade((agent) => agent.replace('"0.1.0"', '"0.2.0"'), newer);
		await another(before);
		await until("the trial is over", async () =>
			(await sh("journalctl -u skein-agent")).includes("has taken over"),
		);
		expect(await sh(`grep -c '"0.2.0"' ${installed}/agent.js`)).toBe("1\n");
		expect(await sumOfRuntime()).not.toBe(old);
		expect(await sh(`ls ${installed}`)).toBe("agent.js\nagent.old.js\nbun\nstart\n");
		expect(await containers()).toBe(container);
		await serves();
	}, 600_000);

	test("a program that hangs makes place for the one before, as does its runtime", async () => {
		const [before, old] = [await unit("MainPID"), await sumOfRuntime()];
		await sh("echo SKEIN_AGENT_TRIAL_SECONDS=2 >>/etc/default/skein-agent");
		const hangs = 'if ((process.argv[2] ?? "run") === "run") await new Promise(() => {});';
		await upgrade((agent) => agent.replace('"0.2.0"', '"0.3.0"').replace("\n", `\n${hangs}\n`));
		await another(before);
		await until("the node says that it fell back", async () =>
			/rollout of agent 0\.3\.0 .* has stopped: s1: it did not reach the control plane within 2 s/.test(
				(await cluster.tryDocker("info")).stderr,
			),
		);
		expect(await sh(`grep -c '"0.2.0"' ${installed}/agent.js`)).toBe("1\n");
		expect(await sumOfRuntime()).toBe(old);
		expect(await unit("ActiveState")).toBe("active");
		expect(await containers()).toBe(container);
		await serves();
	}, 600_000);

	const asUser = "HOME=/root XDG_RUNTIME_DIR=/run/user/0";
	/** As whoever signs in on the machine. */
	const user = (line: string) => sh(`${asUser} ${line}`);
	/** What logind does when they do, where there is one. */
	const signIn = () =>
		sh(
			"mkdir -p -m 700 /run/user/0 && systemd-run -q -u person -p Delegate=yes -E HOME=/root -E XDG_RUNTIME_DIR=/run/user/0 /lib/systemd/systemd --user",
		);
	const socketIs = async () =>
		(
			await s1.exec(["sh", "-c", `${asUser} systemctl --user is-active skein-socket`])
		).stdout.trim();

	test("the command line's socket is started by systemd, for one user, and again when it dies", async () => {
		await signIn();
		const token = await readFile(join(cluster.data, "token"), "utf8");
		await user("sh -c 'curl -fsSL http://192.168.77.254:8787/cli.sh | sh'");
		await user(
			`sh -c 'echo ${token.trim()} | docker skein login http://192.168.77.254:8787 --token -'`,
		);
		await user("docker skein context default --name here");
		expect(await user("docker skein socket --install")).toContain("when you log in");
		expect(await socketIs()).toBe("active");
		expect(await user("docker --context here service ls -q")).toMatch(/^\S+\n$/);
		const pid = async () => (await user("systemctl --user show -P MainPID skein-socket")).trim();
		const before = await pid();
		await sh(`kill -9 ${before}`);
		await until("another one runs", async () => !["0", before].includes(await pid()));
		await until(
			"it serves",
			async () =>
				(await s1.exec(["sh", "-c", `${asUser} docker --context here service ls -q`])).code === 0,
		);
	}, 600_000);

	test("serves again after a reboot, with the control plane away", async () => {
		await cluster.stopControlPlane();
		await s1.reboot();
		expect(await unit("ActiveState")).toBe("active");
		await serves();
		await cluster.startControlPlane();
		await signIn();
		await until("the local socket runs", async () => (await socketIs()) === "active");
		expect(await user("docker --context here service ls -q")).toMatch(/^\S+\n$/);
		await user("docker skein socket --uninstall");
		expect(await socketIs()).toBe("inactive");
		await user("sh -c 'curl -fsSL http://192.168.77.254:8787/cli.sh | sh -s -- --uninstall'");
		await sh("systemctl stop person");
	}, 600_000);

	test("uninstalled, nothing is left", async () => {
		await sh("curl -fsSL http://192.168.77.254:8787/install.sh | sh -s -- --uninstall");
		expect(await remains(s1)).toBe("");
		expect(await sh("docker ps -aq")).toBe("");
		expect(await stateOf("is-system-running")).toBe("running");
		expect(await cluster.docker("node ls -q")).toBe("");
	}, 600_000);
});
