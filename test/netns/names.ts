// A name server that knows one name, for tests of who is asked: `bun names.ts NAME ADDRESS`.

import { createSocket } from "node:dgram";
import { decode, encode } from "dns-packet";

const [name, address] = process.argv.slice(2);
const socket = createSocket("udp4");
socket.on("message", (message, { port, address: asker }) => {
	const { id, questions = [] } = decode(message);
	const [question] = questions;
	const known = question?.name === name;
	const answers =
		known && question?.type === "A" && name && address
			? [{ type: "A" as const, name, ttl: 1, data: address }]
			: [];
	const flags = known ? 0 : 3;
	socket.send(encode({ id: id ?? 0, type: "response", flags, questions, answers }), port, asker);
});
// All addresses: answers go out from the one that was asked, as each is on a link of its own.
socket.bind(53, "0.0.0.0");
