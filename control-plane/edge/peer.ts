// Who is at the other end of a request's connection, by the platform's word. It goes along where a request is passed on.

import { fingerprint } from "../accounts/certificate.ts";
import type { AppEnv } from "../world.ts";

interface ClientCertificate {
	readonly certPresented?: string;
	readonly certRevoked?: string;
	readonly certNotAfter?: string;
	readonly certFingerprintSHA256?: string;
}

/**
 * A certificate counts by its fingerprint, which its token registered, whoever issued it: the handshake proved that the
 * caller has its key. Not past its end, and not revoked.
 */
export function peerOf(
	request: { readonly headers: Headers; readonly cf?: unknown },
	nowMs: number,
): Pick<AppEnv["Bindings"], "address" | "certificate"> {
	const address = request.headers.get("CF-Connecting-IP");
	const { tlsClientAuth: shown } = (request.cf ?? {}) as { tlsClientAuth?: ClientCertificate };
	const isGood =
		shown?.certPresented === "1" &&
		shown.certRevoked !== "1" &&
		Date.parse(shown.certNotAfter ?? "") > nowMs;
	const certificate = isGood ? fingerprint(shown.certFingerprintSHA256 ?? "") : undefined;
	return { ...(address && { address }), ...(certificate && { certificate }) };
}
