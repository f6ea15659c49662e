// Names of images, as people type them: `nginx`, `host:5000/team/web:v2@sha256:…`.

export interface Reference {
	/** The registry's host, `docker.io` where none is named. */
	readonly host: string;
	/** The repository inside it: `library/nginx`. */
	readonly path: string;
	/** `latest` where neither tag nor digest is given. */
	readonly tag: string | null;
	readonly digest: string | null;
}

const component = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const hostName =
	/^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::\d+)?$/;
const tagName = /^\w[\w.-]{0,127}$/;
const digestName = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;

/** The reference, or Docker's complaint about it. */
export function parseReference(text: string): Reference | string {
	const [named = "", digest = null, ...more] = text.split("@");
	const colon = named.lastIndexOf(":");
	const tagged = colon > named.lastIndexOf("/");
	const name = tagged ? named.slice(0, colon) : named;
	const tag = tagged ? named.slice(colon + 1) : null;
	const slash = name.indexOf("/");
	const first = name.slice(0, Math.max(slash, 0));
	const hasHost = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
	const host = hasHost ? first : "docker.io";
	const rest = hasHost ? name.slice(slash + 1) : name;
	const path = host === "docker.io" && !rest.includes("/") ? `library/${rest}` : rest;
	if (rest === "" || more.length > 0) return "invalid reference format";
	if (rest !== rest.toLowerCase()) {
		return "invalid reference format: repository name must be lowercase";
	}
	const sound =
		path.split("/").every((part) => component.test(part)) &&
		(!hasHost || hostName.test(host)) &&
		(tag === null || tagName.test(tag)) &&
		(digest === null || digestName.test(digest));
	if (!sound || name.length > 255) return "invalid reference format";
	return {
		host: host === "index.docker.io" ? "docker.io" : host,
		path,
		tag: tag ?? (digest === null ? "latest" : null),
		digest,
	};
}
