// A socket at one of the mesh's addresses: nobody outside the mesh can reach it.

import { createSocket, type Socket } from "node:dgram";

/** Undefined while the address is not the machine's, or another agent is about to end. */
export function bindTo(port: number, address: string): Promise<Socket | undefined> {
	const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
	const socket = createSocket({ type: "udp4", reuseAddr: true });
	socket.once("error", () => {
		socket.close();
		resolve(undefined);
	});
	socket.bind(port, address, () => {
		socket.removeAllListeners("error");
		resolve(socket);
	});
	return promise;
}
