// The proxy that the environment names for an address. `fetch` asks by itself; a WebSocket has to be told.

export function proxyFor(
	url: string,
	env: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
	const { protocol, hostname, port } = new URL(url);
	const named = (name: string) => env[name.toLowerCase()] || env[name] || undefined;
	const isSpared = (named("NO_PROXY") ?? "")
		.split(",")
		.map((each) =>
			each
				.trim()
				.toLowerCase()
				.replace(/^\*?\./, ""),
		)
		.filter((each) => each !== "")
		.some(
			(each) =>
				each === "*" ||
				each === `${hostname}:${port}` ||
				each === hostname ||
				hostname.endsWith(`.${each}`),
		);
	if (isSpared) return undefined;
	return named(protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY");
}
