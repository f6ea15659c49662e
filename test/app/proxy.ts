// A company's way out: HTTP passed on by its full address, and everything else through CONNECT.

import { createServer, request } from "node:http";
import { type AddressInfo, connect } from "node:net";

export interface Proxy {
	readonly port: number;
	/** Method and address of what it passed on. */
	readonly passed: readonly string[];
	stop(): Promise<void>;
}

export async function startProxy(): Promise<Proxy> {
	const passed: string[] = [];
	const server = createServer((asked, answer) => {
		passed.push(`${asked.method} ${asked.url}`);
		const ahead = request(
			asked.url ?? "",
			{ method: asked.method, headers: asked.headers },
			(reply) => {
				answer.writeHead(reply.statusCode ?? 502, reply.headers);
				reply.pipe(answer);
			},
		);
		ahead.on("error", () => answer.destroy());
		asked.pipe(ahead);
	});
	server.on("connect", (asked, client, head) => {
		passed.push(`CONNECT ${asked.url}`);
		const { hostname, port } = new URL(`http://${asked.url}`);
		const ahead = connect({ host: hostname, port: Number(port), allowHalfOpen: true }, () => {
			client.write("HTTP/1.1 200 Connection established\r\n\r\n");
			ahead.write(head);
			ahead.pipe(client);
			client.pipe(ahead);
		});
		for (const [each, other] of [
			[ahead, client],
			[client, ahead],
		] as const) {
			each.on("error", () => other.destroy());
			each.on("close", () => other.destroy());
		}
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	return {
		port: (server.address() as AddressInfo).port,
		passed,
		async stop() {
			server.closeAllConnections();
			await new Promise((resolve) => server.close(resolve));
		},
	};
}
