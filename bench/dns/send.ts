// Asks one name as fast as it is answered, and prints the answers a second: `bun send.ts PORT NAME`.

import { encode, RECURSION_DESIRED } from "dns-packet";

const [port = "", name = ""] = process.argv.slice(2);
/** Enough that the server never waits for us, too few for a socket's buffer to overflow. */
const underWay = 100;
const warmUpMs = 500;
const measuredMs = 2000;

let answers = 0;
const questions = [{ name, type: "A" as const }];
const query = encode({ type: "query", id: 1, flags: RECURSION_DESIRED, questions });
const socket = await Bun.udpSocket({
	connect: { hostname: "127.0.0.1", port: Number(port) },
	socket: {
		data: () => {
			answers += 1;
			ask();
		},
		error: () => {},
	},
});

function ask() {
	try {
		socket.send(query);
	} catch {
		// Nobody listens yet.
	}
}

// Until the server is there, and for every question that got lost.
const refill = setInterval(() => {
	if (answers === answersBefore) for (let count = 0; count < underWay; count++) ask();
	answersBefore = answers;
}, 100);
let answersBefore = 0;
while (answers === 0) await Bun.sleep(20);
await Bun.sleep(warmUpMs);
const [before, beforeNs] = [answers, Bun.nanoseconds()];
await Bun.sleep(measuredMs);
console.log((answers - before) / ((Bun.nanoseconds() - beforeNs) / 1e9));
clearInterval(refill);
process.exit();
