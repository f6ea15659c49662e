// A WebSocket at the edge: one end is ours, the other is returned with the answer, through the worker.

import type { Upgrade, WebSocketLike } from "../connection/websocket.ts";

export const upgrade: Upgrade = async () => {
	const { 0: theirs, 1: ours } = new WebSocketPair();
	ours.binaryType = "arraybuffer";
	ours.accept();
	return {
		socket: ours as WebSocketLike,
		response: new Response(null, { status: 101, webSocket: theirs }),
	};
};
