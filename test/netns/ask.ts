// Asks an echo server and prints, for each time, what it said, or why it said nothing.
//
//     bun ask.ts tcp|udp ADDRESS PORT COUNT [LOCALPORT]
//
// With a port of its own it stays connected for as long as the others may try, so that several can have the same one at once.

import { createSocket } from "node:dgram";
import { connect } from "node:net";

const [protocol, address = "", port = "", count = "1", localPort = "0"] = process.argv.slice(2);
const timeoutMs = 1500;

for (let turn = 0; turn < Number(count); turn++) {
	console.log(await (protocol === "udp" ? askByUdp() : askByTcp()));
}
process.exit();

function askByTcp(): Promise<string> {
	const { promise, resolve } = Promise.withResolvers<string>();
	const isShared = localPort !== "0";
	const local = isShared ? { localPort: Number(localPort) } : {};
	const socket = connect({ host: address, port: Number(port), ...local });
	const timer = setTimeout(() => resolve("timeout"), timeoutMs);
	socket.on("data", (data) => resolve(data.toString().trim()));
	socket.on("error", (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message));
	return promise.finally(async () => {
		clearTimeout(timer);
		// Others with the same port are to meet this one alive.
		if (isShared) await Bun.sleep(timeoutMs);
		socket.destroy();
	});
}

function askByUdp(): Promise<string> {
	const { promise, resolve } = Promise.withResolvers<string>();
	const socket = createSocket("udp4");
	const timer = setTimeout(() => resolve("timeout"), timeoutMs);
	socket.on("error", (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message));
	socket.on("message", (data) => resolve(data.toString().trim()));
	// Connected, so that an ICMP refusal comes to us.
	socket.connect(Number(port), address, () => socket.send("?"));
	return promise.finally(() => {
		clearTimeout(timer);
		socket.close();
	});
}
