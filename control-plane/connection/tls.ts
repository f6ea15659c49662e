// TLS before the listener, for `docker --tlsverify`: whoever shows a certificate is known by its fingerprint.
//
// Under Bun, node:https does not tell whose certificate it saw, and node:tls does. So TLS ends here, and its bytes go on to
// a listener on the loopback address, which knows by the port that they come from who is at their far end.

import { connect, type Socket } from "node:net";
import { createServer } from "node:tls";
import { fingerprint } from "../accounts/certificate.ts";
import { type Listener, listen, type Peer, type Serve } from "./listen.ts";

export interface Identity {
	/** PEM, as all that follows the leaf in its chain. */
	readonly cert: string;
	readonly key: string;
}

export async function listenTls(
	at: { readonly host: string; readonly port: number },
	{ cert, key }: Identity,
	serve: Serve,
): Promise<Listener> {
	const peers = new Map<number, Peer>();
	const peerOf = ({ remotePort }: Socket): Peer => peers.get(remotePort ?? 0) ?? {};
	const inner = await listen({ host: "127.0.0.1", port: 0 }, serve, peerOf);
	const open = new Set<Socket>();
	// Certificates count by their fingerprint, which their token registered, whoever issued them.
	const asks = { requestCert: true, rejectUnauthorized: false, allowHalfOpen: true };
	const front = createServer({ cert, key, ...asks, ALPNProtocols: ["http/1.1"] }, (outer) => {
		const shown = outer.getPeerCertificate();
		const isGood = Date.parse(shown?.valid_to ?? "") > Date.now();
		const certificate = isGood ? fingerprint(shown.fingerprint256) : undefined;
		const { remoteAddress: address } = outer;
		let port = 0;
		const onward = connect({ port: inner.port, host: "127.0.0.1", allowHalfOpen: true }, () => {
			port = onward.localPort ?? 0;
			peers.set(port, {
				...(address && { address }),
				...(certificate && { certificate }),
			});
			outer.pipe(onward);
			onward.pipe(outer);
		});
		for (const [one, other] of [
			[outer, onward],
			[onward, outer],
		] as const) {
			open.add(one);
			one.on("error", () => one.destroy());
			one.on("close", () => {
				open.delete(one);
				peers.delete(port);
				other.destroy();
			});
		}
	});
	await new Promise<void>((resolve, reject) => {
		front.once("error", reject);
		front.listen(at.port, at.host, () => {
			front.off("error", reject);
			resolve();
		});
	});
	const address = front.address();
	return {
		port: typeof address === "object" ? (address?.port ?? 0) : 0,
		async stop() {
			for (const socket of open) socket.destroy();
			const closed = new Promise<void>((resolve) => front.close(() => resolve()));
			await Promise.all([closed, inner.stop()]);
		},
	};
}
