// Many agents for a bench: nodes joined to a control plane, and hollow agents that speak for them.

import type { NodeDescription } from "../model/node.ts";
import { describeMachine, joinAgent } from "../test/app/agent.ts";
import type { Tick, Wanted } from "./hollow/agents.ts";

export interface Crowd {
	/** Agents for nodes that have joined; they begin at once. */
	add(joined: Joined, each?: number): void;
	readonly ticks: readonly Tick[];
	/** Of all ticks from that moment on. */
	sum(of: "answers" | "requests" | "news" | "strange" | "cut", sinceMs: number): number;
	/** In ascending order, from that moment on. */
	backMs(sinceMs: number): number[];
	/** What went wrong from that moment on, and how often. */
	errors(sinceMs: number): ReadonlyMap<string, number>;
	/** The most that was sent in one second, from that moment on. */
	mostRequests(sinceMs: number): number;
	stop(): Promise<void>;
}

export interface Joined {
	readonly credentials: string[];
	readonly descriptions: NodeDescription[];
}

interface At {
	readonly url: string;
	readonly token: string;
}

/** A cluster of that name with so many nodes, named after it; `default` is there already. */
export async function joinNodes(at: At, cluster: string, nodes: number): Promise<Joined> {
	const ask = async (path: string, init: RequestInit = {}) => {
		const headers = { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" };
		const reply = await fetch(`${at.url}${path}`, { headers, ...init });
		if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
		return reply.json();
	};
	if (cluster !== "default") {
		await ask("/api/clusters", { method: "POST", body: JSON.stringify({ name: cluster }) });
	}
	const swarm = (await ask(`/c/${cluster}/swarm`)) as { JoinTokens: { Worker: string } };
	const descriptions = Array.from({ length: nodes }, (_, n) =>
		describeMachine(n + 1, { hostname: `${cluster}-n${n}` }),
	);
	const credentials: string[] = [];
	for (const description of descriptions) {
		const { credential } = await joinAgent(at.url, swarm.JoinTokens.Worker, description);
		credentials.push(credential);
	}
	return { credentials, descriptions };
}

/** In so many processes: one has only so many files to open. */
export function startCrowd(url: string, holdMs: number, processes = 1): Crowd {
	const ticks: Tick[] = [];
	const children = Array.from({ length: processes }, () => startAgents(ticks));
	const since = (sinceMs: number) => ticks.filter(({ atMs }) => atMs >= sinceMs);
	let added = 0;
	return {
		add(joined, each = 1) {
			const wanted: Wanted = { url, ...joined, each, holdMs };
			const stdin = children[added++ % processes]?.stdin;
			stdin?.write(`${JSON.stringify(wanted)}\n`);
			stdin?.flush();
		},
		ticks,
		sum: (of, sinceMs) => since(sinceMs).reduce((sum, tick) => sum + tick[of], 0),
		backMs: (sinceMs) =>
			ticks
				.flatMap(({ backMs }) => backMs)
				.filter((atMs) => atMs >= sinceMs)
				.sort((a, b) => a - b),
		errors(sinceMs) {
			const all = new Map<string, number>();
			for (const [what, times] of since(sinceMs).flatMap(({ errors }) => Object.entries(errors))) {
				all.set(what, (all.get(what) ?? 0) + times);
			}
			return all;
		},
		mostRequests(sinceMs) {
			const seconds = new Map<number, number>();
			for (const { atMs, requests } of since(sinceMs)) {
				const second = Math.floor((atMs - sinceMs) / 1000);
				seconds.set(second, (seconds.get(second) ?? 0) + requests);
			}
			return Math.max(0, ...seconds.values());
		},
		async stop() {
			for (const child of children) child.kill("SIGKILL");
			await Promise.all(children.map((child) => child.exited));
		},
	};
}

function startAgents(ticks: Tick[]) {
	const child = Bun.spawn([process.execPath, `${import.meta.dir}/hollow/agents.ts`], {
		stdin: "pipe",
		stdout: "pipe",
		stderr: "inherit",
		// Bun's `fetch` holds 256 requests at a time unless told.
		env: { ...process.env, BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" },
	});
	void (async () => {
		let text = "";
		const decoder = new TextDecoder();
		for await (const chunk of child.stdout) {
			text += decoder.decode(chunk, { stream: true });
			const lines = text.split("\n");
			text = lines.pop() ?? "";
			for (const line of lines) ticks.push(JSON.parse(line) as Tick);
		}
	})();
	return child;
}

/** Until it is so; benches may take their time. */
export async function until(
	so: () => boolean | Promise<boolean>,
	timeoutMs = 60_000,
): Promise<void> {
	const started = performance.now();
	while (!(await so())) {
		if (performance.now() - started > timeoutMs) throw new Error("it does not come to that");
		await Bun.sleep(100);
	}
}

/** Resident memory of a process, in bytes: now, or the most that it ever had. */
export async function rssOf(pid: number, when: "now" | "most" = "now"): Promise<number> {
	const status = await Bun.file(`/proc/${pid}/status`).text();
	const field = when === "now" ? /VmRSS:\s+(\d+)/ : /VmHWM:\s+(\d+)/;
	return Number(field.exec(status)?.[1]) * 1024;
}

/** What a Bun control plane asked of its database so far. */
export async function countedBy(at: At) {
	const headers = { Authorization: `Bearer ${at.token}` };
	const text = await (await fetch(`${at.url}/metrics`, { headers })).text();
	const value = (family: string, kind: string) =>
		Number(new RegExp(`^${family}\\{kind="${kind}"\\} (\\S+)`, "m").exec(text)?.[1] ?? 0);
	return {
		reads: value("skein_database_batches_total", "read"),
		writes: value("skein_database_batches_total", "write"),
		rowsWritten: value("skein_database_rows_total", "write"),
	};
}
