// Addresses as people and registries write them.

export function parseUrl(text: string): URL | undefined {
	try {
		return new URL(text);
	} catch {
		return undefined;
	}
}

/** `192.0.2.1:8787` of `http://192.0.2.1:8787`; what is no URL stays what it is. */
export function hostOf(url: string): string {
	return parseUrl(url)?.host || url;
}
