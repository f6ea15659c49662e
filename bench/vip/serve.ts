// A task to be measured: port 81 sends without end, ports 82 and 83 say one byte and hang up.

import { createServer } from "node:net";

const chunk = Buffer.alloc(1 << 18);

const endless = createServer((socket) => {
	const fill = () => {
		while (socket.write(chunk));
	};
	socket.on("drain", fill).on("error", () => {});
	fill();
});
const brief = () =>
	createServer((socket) => {
		socket.on("error", () => {}).end("!");
	});
await Promise.all([listen(endless, 81), listen(brief(), 82), listen(brief(), 83)]);
console.log("up");

function listen(server: ReturnType<typeof createServer>, port: number): Promise<void> {
	return new Promise((resolve) => server.listen({ host: "0.0.0.0", port, backlog: 1024 }, resolve));
}
