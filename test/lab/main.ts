// `npm run lab`: a lab to play in, until Ctrl-C: machines, a control plane beside them, the agent on each.

import { startCluster } from "../e2e/cluster.ts";
import { installLabTools } from "./available.ts";
import { ensureDisk, ensureRoot, suites } from "./roots.ts";

const count = Number(option("--nodes") ?? 3);
if (process.argv.includes("--install")) {
	await installLabTools();
	await Promise.all(suites.map(ensureRoot));
	if (process.arch === "x64") await ensureDisk();
} else {
	await show();
}

async function show(): Promise<void> {
	const nodes = Array.from({ length: count }, (_, index) => ({
		name: `h${index + 1}`,
		suite: suites[index % suites.length] ?? "bookworm",
	}));
	const cluster = await startCluster({ nodes });
	const { lab } = cluster;
	for (const node of lab.nodes) {
		const version = await node.must(["docker", "version", "-f", "{{.Server.Version}}"]);
		console.log(`${node.name}  ${node.address}  ${node.suite}  engine ${version.trim()}`);
		console.log(`    ${node.enter.join(" ")} bash`);
	}
	console.log(`outside  ${lab.client.address}`);
	console.log(`    ${lab.client.enter.join(" ")} bash`);
	console.log("The images nginx:1.22 and lab/busybox:1 are on every node. Type:");
	console.log(`    export DOCKER_HOST=unix://${cluster.socket}`);
	console.log("    docker node ls");
	console.log("    docker service create --name web --replicas 3 --publish 8080:80 nginx:1.22");
	const [first] = lab.nodes;
	console.log(`    ${lab.client.enter.join(" ")} curl http://${first?.address}:8080/whoami`);
	console.log("Ctrl-C ends the lab.");
	await new Promise<void>((resolve) => {
		process.once("SIGINT", resolve);
		process.once("SIGTERM", resolve);
		// A pending promise alone keeps nothing alive.
		setInterval(() => {}, 1 << 30);
	});
	await cluster.stop();
	process.exit();
}

function option(name: string): string | undefined {
	const index = process.argv.indexOf(name);
	return index < 0 ? undefined : process.argv[index + 1];
}
