// The hosted endpoint for a lab: workerd with a libSQL server of its own, and the install files beside it, at the
// address of SKEIN_LISTEN. Ends with SIGTERM.

import { localInstallFiles } from "../../control-plane/installables.ts";
import { startWorkerOver } from "../runtimes.ts";
import { startSqld } from "../store/databases.ts";

const [host = "", port = ""] = (process.env["SKEIN_LISTEN"] ?? "").split(":");
const install = localInstallFiles(process.env["SKEIN_DATA"] ?? "");

const files = Bun.serve({
	hostname: host,
	port: 0,
	fetch: async (request) =>
		(await install.open(new URL(request.url).pathname.slice(1))) ??
		new Response("", { status: 404 }),
});
const lines = (await install.files()).map(
	({ name, sha256 }) => `${name} ${sha256} http://${host}:${files.port}/${name}`,
);
const database = await startSqld();
const worker = await startWorkerOver(
	database,
	() => database.stop(),
	{ SKEIN_INSTALL_FILES: lines.join("\n"), SKEIN_NODE_TIMEOUT_MS: "12000" },
	{ host, port: Number(port) },
);
console.log(`${worker.url} is ready`);

process.on("SIGTERM", async () => {
	await worker.stop();
	await files.stop(true);
	process.exit(0);
});
