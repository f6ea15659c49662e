// A WebSocket that is kept open: pinged, since a line that died in silence looks like one on which nothing happens.

/** A machine that is busy may be late to hear what was answered in time. */
const mostUnanswered = 3;

/** Calls `rung` once the line is open, and for each word that comes. */
export function keepOpen(
	socket: WebSocket,
	pingMs: number,
	rung: () => void,
	signal: AbortSignal,
): Promise<void> {
	return new Promise((resolve, reject) => {
		let isOpen = false;
		let unanswered = 0;
		const end = () => {
			clearInterval(pinging);
			signal.removeEventListener("abort", end);
			socket.close();
			if (isOpen || signal.aborted) resolve();
			else reject(new Error("the control plane's bell cannot be opened"));
		};
		const pinging = setInterval(() => {
			if (unanswered++ === mostUnanswered) return end();
			if (isOpen) socket.send("ping");
		}, pingMs);
		socket.addEventListener("open", () => {
			isOpen = true;
			unanswered = 1;
			socket.send("ping");
			rung();
		});
		socket.addEventListener("message", ({ data }) => {
			unanswered = 0;
			if (data !== "pong") rung();
		});
		socket.addEventListener("error", end);
		socket.addEventListener("close", end);
		signal.addEventListener("abort", end);
		if (signal.aborted) end();
	});
}
