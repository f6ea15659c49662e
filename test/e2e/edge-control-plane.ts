// The hosted endpoint for a lab: workerd with a libSQL server of its own, and the install files beside it, at the
// address of SKEIN_LISTEN. SIGHUP is a deployment with another agent, `next.js` of SKEIN_DATA; ends with SIGTERM.

import { join } from "node:path";
import { localInstallFiles } from "../../control-plane/installables.ts";
import type { InstallFiles } from "../../control-plane/world.ts";
import { startWorkerOver } from "../runtimes.ts";
import { startSqld } from "../store/databases.ts";

const [host = "", port = ""] = (process.env["SKEIN_LISTEN"] ?? "").split(":");
const data = process.env["SKEIN_DATA"] ?? "";
let install: InstallFiles = localInstallFiles(data);

const files = Bun.serve({
	hostname: host,
	port: 0,
	fetch: async (request) =>
		(await install.open(new URL(request.url).pathname.slice(1))) ??
		new Response("", { status: 404 }),
});
const database = await startSqld();

async function deploy() {
	const lines = (await install.files()).map(
		({ name, sha256 }) => `${name} ${sha256} http://${host}:${files.port}/${name}`,
	);
	const { SKEIN_AGENT_SOAK_MS } = process.env;
	return startWorkerOver(
		database,
		undefined,
		{
			SKEIN_INSTALL_FILES: lines.join("\n"),
			SKEIN_NODE_TIMEOUT_MS: "12000",
			...(SKEIN_AGENT_SOAK_MS && { SKEIN_AGENT_SOAK_MS }),
		},
		{ host, port: Number(port) },
	);
}
let worker = await deploy();
console.log(`${worker.url} is ready`);

process.on("SIGHUP", async () => {
	await worker.stop();
	install = localInstallFiles(data, join(data, "next.js"));
	worker = await deploy();
});
process.on("SIGTERM", async () => {
	await worker.stop();
	await database.stop();
	await files.stop(true);
	process.exit(0);
});
