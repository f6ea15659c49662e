// Client certificates as credentials: a certificate's name here is the SHA-256 of its DER form, as TLS libraries print it.

import { invalid } from "../../model/errors.ts";
import { fromBase64 } from "./base64.ts";
import { hex } from "./tokens.ts";

/** Of the first certificate in a PEM text; lower case, no colons. */
export async function fingerprintOf(pem: string): Promise<string> {
	const body = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(pem);
	const der = bytesOf(body?.[1] ?? "");
	// Every certificate is an ASN.1 sequence.
	if (der?.[0] !== 0x30) {
		throw invalid("certificate: this is no PEM text that begins with -----BEGIN CERTIFICATE-----");
	}
	return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", der)));
}

/** As node's TLS (`AB:CD:…`) and edge platforms (`abcd…`) say it. */
export function fingerprint(text: string): string | undefined {
	const plain = text.replaceAll(":", "").toLowerCase();
	return /^[0-9a-f]{64}$/.test(plain) ? plain : undefined;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
	try {
		return fromBase64(base64.replaceAll(/\s/g, ""));
	} catch {
		return undefined;
	}
}
