// A Git push beside what a person does by hand for the same: clone, `docker build`, `docker push` to a registry,
// `docker service update`. On the same three machines, in turn; from the push until each machine answers with the new
// page and the rollout has ended.

import { startCluster, type TestCluster, threeEngines, until } from "../test/e2e/cluster.ts";
import { makeRepository, type Repository, serveGit } from "../test/e2e/repository.ts";
import { labAvailable } from "../test/lab/available.ts";
import type { Row } from "./row.ts";

export const name = "deploy";

const turns = 5;
/** Of fresh bytes that each version brings, beside the layers that stay. */
const pageBytes = 100_000;
const registryPort = 5000;
const dockerfile = `FROM lab/busybox:1
RUN head -c 3000000 /dev/urandom >/base
COPY page /www/index.html
HEALTHCHECK --interval=1s --retries=3 CMD test -s /www/index.html
STOPSIGNAL SIGKILL
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
`;

interface Deployment {
	readonly commit: string;
	readonly outcome: string | null;
	readonly times: readonly { readonly phase: string; readonly at: string }[];
}

export async function run(): Promise<Row[]> {
	const reason = labAvailable();
	if (reason) return [{ what: `not measured: ${reason}`, value: Number.NaN, unit: "" }];
	const cluster = await startCluster({ nodes: threeEngines });
	try {
		const { lab } = cluster;
		await serveGit(lab);
		const { address } = await lab.registry({ port: registryPort });
		const [pushed, byHand] = [
			await makeRepository(lab, "pushed"),
			await makeRepository(lab, "by-hand"),
		];
		await makeApplication(cluster, pushed);
		const hand = `${address}/by-hand`;
		const push = { byPush: [] as number[], byHand: [] as number[] };
		const phases = new Map<string, number[]>();
		for (let turn = 0; turn <= turns; turn++) {
			const page = `${turn} ${crypto.randomUUID()} `.padEnd(pageBytes, ".");
			const ms = await timed(() => deployByPush(cluster, pushed, page, phases, turn > 0));
			const handMs = await timed(() =>
				deployByHand(cluster, byHand, `${hand}:${turn}`, page, turn),
			);
			// The first makes the service, and has no layers yet.
			if (turn === 0) continue;
			push.byPush.push(ms);
			push.byHand.push(handMs);
		}
		const [ours, theirs] = [median(push.byPush), median(push.byHand)];
		return [
			{
				what: "a push, until all three serve it",
				value: ours / 1000,
				unit: "s",
				note: [...phases].map(([phase, each]) => `${phase} ${seconds(median(each))} s`).join(", "),
			},
			{ what: "by hand: clone, build, push, service update", value: theirs / 1000, unit: "s" },
			{
				what: "push / by hand",
				value: ours / theirs,
				unit: "",
				note: `medians of ${turns}, in turn`,
			},
		];
	} finally {
		await cluster.stop();
	}
}

async function timed(work: () => Promise<unknown>): Promise<number> {
	const startedMs = performance.now();
	await work();
	return performance.now() - startedMs;
}

const update = { Parallelism: 1, FailureAction: "rollback", Monitor: 500_000_000 };
const ports = { pushed: 8095, "by-hand": 8096 };

async function makeApplication({ socket }: TestCluster, repository: Repository): Promise<void> {
	const create = {
		Mode: { Replicated: { Replicas: 3 } },
		UpdateConfig: update,
		EndpointSpec: {
			Ports: [{ Protocol: "tcp", PublishedPort: ports.pushed, TargetPort: 80 }],
		},
	};
	const spec = {
		name: "pushed",
		repository: repository.url,
		environments: [{ name: "production", branches: ["main"], create }],
	};
	const reply = await fetch("http://skein/api/applications", {
		unix: socket,
		method: "POST",
		headers: { "Content-Type": "application/json" },
		body: JSON.stringify({ spec }),
	});
	if (!reply.ok) throw new Error(await reply.text());
	const { webhook, webhookSecret } = (await reply.json()) as Record<string, string>;
	await repository.hook(webhook ?? "", webhookSecret ?? "");
}

async function deployByPush(
	cluster: TestCluster,
	repository: Repository,
	page: string,
	phases: Map<string, number[]>,
	isCounted: boolean,
): Promise<void> {
	const commit = await repository.push({ Dockerfile: dockerfile, page });
	let found: Deployment | undefined;
	await until("it is deployed", async () => {
		const reply = await fetch("http://skein/api/applications/pushed/deployments", {
			unix: cluster.socket,
		});
		found = ((await reply.json()) as Deployment[]).find((each) => each.commit === commit);
		return found !== undefined && found.outcome !== null;
	});
	if (found?.outcome !== "succeeded") throw new Error(JSON.stringify(found));
	await serving(cluster, ports.pushed, page);
	if (!isCounted) return;
	for (const [index, { phase, at }] of found.times.entries()) {
		const next = found.times[index + 1];
		if (!next) continue;
		phases.set(phase, [...(phases.get(phase) ?? []), Date.parse(next.at) - Date.parse(at)]);
	}
}

async function deployByHand(
	cluster: TestCluster,
	repository: Repository,
	image: string,
	page: string,
	turn: number,
): Promise<void> {
	await repository.push({ Dockerfile: dockerfile, page });
	const [h1] = cluster.lab.nodes;
	const line = `rm -rf /tmp/clone && git clone -q --depth 1 ${repository.url} /tmp/clone && docker build -q -t ${image} /tmp/clone && docker push -q ${image}`;
	await h1?.must(["sh", "-c", line], { timeoutMs: 120_000 });
	const { "by-hand": port } = ports;
	await cluster.docker(
		turn === 0
			? `service create -q --name by-hand --replicas 3 --publish ${port}:80 --update-parallelism 1 --update-monitor 500ms ${image}`
			: `service update -q --image ${image} by-hand`,
	);
	await serving(cluster, port, page);
}

async function serving({ lab }: TestCluster, port: number, page: string): Promise<void> {
	for (const { address } of lab.nodes) {
		const line = ["curl", "-sS", "-m", "10", `http://${address}:${port}/`];
		await until(`${address} serves it`, async () => {
			return (await lab.client.exec(line)).stdout === page;
		});
	}
}

const median = (values: readonly number[]) =>
	values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const seconds = (ms: number) => (ms / 1000).toFixed(1);
