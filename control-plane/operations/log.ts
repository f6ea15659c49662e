// The control plane's log: for machines one JSON object a line, every request among them; for people plain lines, of what
// went wrong alone. Says routes by their pattern, never a path, a query, a header or a body, and blots out secrets.

export interface Entry {
	readonly level: "info" | "warn" | "error";
	readonly message: string;
	readonly request?: RequestEntry;
	readonly cause?: unknown;
}

export interface RequestEntry {
	/** The caller's own where it sent one: `X-Request-Id`. */
	readonly id: string;
	readonly method: string;
	/** `/services/:id` */
	readonly route: string;
	readonly status: number;
	readonly durationMs: number;
	/** Who asked: `node ID`, `token ID`, `owner`; absent where nobody was recognised. */
	readonly actor?: string;
	readonly cluster?: string;
}

export type Log = (entry: Entry) => void;

export function jsonLog(write: (line: string) => void, nowMs: () => number): Log {
	return ({ level, message, request, cause }) => {
		const line = {
			time: new Date(nowMs()).toISOString(),
			level,
			message,
			...request,
			...(cause !== undefined && { error: causesOf(cause) }),
		};
		write(redacted(JSON.stringify(line)));
	};
}

export function plainLog(write: (line: string) => void): Log {
	return ({ level, message, request, cause }) => {
		if (level === "info" && request) return;
		const { method, route, id, status } = request ?? {};
		const about = request ? `${method} ${route} → ${status} (request ${id}): ` : "";
		const lines = cause === undefined ? [] : causesOf(cause).map((each) => each.stack);
		write(redacted([`${about}${message}`, ...lines].join("\n")));
	};
}

interface Cause {
	readonly name: string;
	readonly message: string;
	readonly stack: string;
}

const deepest = 5;

/** The error and what led to it, outermost first. */
function causesOf(error: unknown): Cause[] {
	const found: Cause[] = [];
	for (let at = error; at !== undefined && found.length < deepest; ) {
		const known = at instanceof Error ? at : new Error(String(at));
		const { name, message } = known;
		found.push({ name, message, stack: known.stack ?? message });
		at = known.cause;
	}
	return found;
}

/** What may stand in an error's message by a mistake of ours or a library's. */
const secrets: readonly (readonly [what: RegExp, instead: string])[] = [
	[/SKEIN-NODE\.([0-9a-z]{25})\.[0-9a-f]+/g, "SKEIN-NODE.$1.…"],
	[/SWMTKN-1-[0-9a-z]+-[0-9a-z]+/g, "SWMTKN-1-…"],
	[/\bskein[-_][A-Za-z0-9_-]{20,}/g, "skein-…"],
	[/\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{6,}/gi, "$1 …"],
	[/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+/g, "…"],
	[/\b(authToken|token|password|secret|key)=[^&\s"'\\]+/gi, "$1=…"],
	[/:\/\/[^/\s:@"]+:[^/\s@"]+@/g, "://…@"],
];

export function redacted(line: string): string {
	return secrets.reduce((text, [what, instead]) => text.replaceAll(what, instead), line);
}
