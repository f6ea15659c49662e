// What a client measures at an address: Gbit/s or connections a second.
//
//     bun load.ts throughput|connections ADDRESS PORT

import { connect } from "node:net";

const [what, host = "", port = ""] = process.argv.slice(2);
const warmUpMs = 300;
const measuredMs = 1500;
/** Enough to keep both ends busy. */
const callers = 16;

let count = 0;
if (what === "throughput") {
	connect({ host, port: Number(port) }).on("data", (data) => {
		count += data.length;
	});
} else {
	for (let caller = 0; caller < callers; caller++) void callForEver();
}
await Bun.sleep(warmUpMs);
const [before, beforeNs] = [count, Bun.nanoseconds()];
await Bun.sleep(measuredMs);
const rate = (count - before) / ((Bun.nanoseconds() - beforeNs) / 1e9);
console.log(what === "throughput" ? (rate * 8) / 1e9 : rate);
process.exit();

async function callForEver() {
	for (;;) if (await call()) count += 1;
}

function call(): Promise<boolean> {
	return new Promise((resolve) => {
		let heard = false;
		const socket = connect({ host, port: Number(port) });
		socket.on("data", () => {
			heard = true;
		});
		socket.on("error", () => resolve(false));
		socket.on("close", () => resolve(heard));
	});
}
