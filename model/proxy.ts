// The proxy that the environment names for an address. `fetch` asks by itself; a WebSocket has to be told.

/** As `fetch` chooses it: by the scheme, unless NO_PROXY names the host, a suffix of it, or everything. */
export function proxyFor(
	url: { readonly protocol: string; readonly host: string; readonly hostname: string },
	environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
	const named = (name: string) => environment[name.toLowerCase()] || environment[name] || undefined;
	const excepted = (named("NO_PROXY") ?? "").split(/[\s,]+/).filter((each) => each !== "");
	const isExcepted = excepted.some((each) => {
		const suffix = each.replace(/^\*?\./, "");
		return (
			each === "*" ||
			url.host === suffix ||
			url.hostname === suffix ||
			url.hostname.endsWith(`.${suffix}`)
		);
	});
	if (isExcepted) return undefined;
	return named(url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY");
}
