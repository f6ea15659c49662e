// `npm run lab`: a lab to look around in, until Ctrl-C.

import { installLabTools } from "./available.ts";
import { startLab } from "./lab.ts";
import { ensureRoot, suites } from "./roots.ts";

const count = Number(option("--nodes") ?? 3);
if (process.argv.includes("--install")) {
	await installLabTools();
	await Promise.all(suites.map(ensureRoot));
} else {
	await show();
}

async function show(): Promise<void> {
	const nodes = Array.from({ length: count }, (_, index) => ({
		name: `h${index + 1}`,
		suite: suites[index % suites.length] ?? "bookworm",
	}));
	const lab = await startLab({ nodes });
	for (const node of lab.nodes) {
		const version = await node.must(["docker", "version", "-f", "{{.Server.Version}}"]);
		console.log(`${node.name}  ${node.address}  ${node.suite}  engine ${version.trim()}`);
		console.log(`    ${node.enter.join(" ")} bash`);
		console.log(`    docker -H unix://${node.docker} ps`);
	}
	console.log(`client  ${lab.client.address}`);
	console.log(`    ${lab.client.enter.join(" ")} bash`);
	console.log("Ctrl-C ends the lab.");
	await new Promise<void>((resolve) => {
		process.once("SIGINT", resolve);
		process.once("SIGTERM", resolve);
		// A pending promise alone keeps nothing alive.
		setInterval(() => {}, 1 << 30);
	});
	await lab.stop();
	process.exit();
}

function option(name: string): string | undefined {
	const index = process.argv.indexOf(name);
	return index < 0 ? undefined : process.argv[index + 1];
}
