// The settings of a self-hosted control plane: the environment, parsed once.

import { join } from "node:path";

export interface Settings {
	readonly listen: { readonly host: string; readonly port: number };
	readonly socket: string;
	readonly data: string;
	readonly databaseUrl: string;
	readonly databaseToken: string | undefined;
	readonly publicUrl: string | undefined;
	/** Join tokens are derived from it; several processes on one database need the same one. Base64. */
	readonly key: string | undefined;
	readonly makeCluster: boolean;
	readonly makeNode: boolean;
	readonly meshRange: string;
	/** A node unheard for this long is down. */
	readonly nodeTimeoutMs: number;
	readonly insecureRegistries: readonly string[];
}

export function readSettings(
	env: Readonly<Record<string, string | undefined>>,
	user: { readonly isRoot: boolean; readonly home: string },
): Settings {
	const data =
		env["SKEIN_DATA"] ||
		(user.isRoot
			? "/var/lib/skein"
			: join(env["XDG_DATA_HOME"] || join(user.home, ".local/share"), "skein"));
	const runtime = user.isRoot ? "/run" : env["XDG_RUNTIME_DIR"] || data;
	return {
		listen: parseListen(env["SKEIN_LISTEN"] || "127.0.0.1:8787"),
		socket: env["SKEIN_SOCKET"] || join(runtime, "skein.sock"),
		data,
		databaseUrl: env["SKEIN_DATABASE_URL"] || `file:${join(data, "skein.db")}`,
		databaseToken: env["SKEIN_DATABASE_TOKEN"] || undefined,
		publicUrl: parseUrl(env["SKEIN_URL"]),
		key: env["SKEIN_KEY"] || undefined,
		makeCluster: env["SKEIN_CLUSTER"] !== "no",
		makeNode: env["SKEIN_NODE"] !== "no",
		meshRange: env["SKEIN_MESH_RANGE"] || defaultMeshRange,
		nodeTimeoutMs: Number(env["SKEIN_NODE_TIMEOUT_MS"] || 12_000),
		insecureRegistries: (env["SKEIN_INSECURE_REGISTRIES"] ?? "").split(/[\s,]+/).filter(Boolean),
	};
}

/** 65 000 nodes. Out of the way of Docker's own bridges (172.17–31, 192.168) and of what homes and clouds use most. */
export const defaultMeshRange = "10.200.0.0/16";

export function parseListen(text: string): Settings["listen"] {
	const match = /^(?:tcp:\/\/)?(\[[0-9a-fA-F:]+\]|[^:/]*):(\d{1,5})$/.exec(text);
	const port = Number(match?.[2]);
	if (!match || port > 65535) {
		throw new Error(`SKEIN_LISTEN: ${text} is no ADDRESS:PORT such as 127.0.0.1:8787`);
	}
	return { host: (match[1] || "0.0.0.0").replace(/^\[|\]$/g, ""), port };
}

function parseUrl(text: string | undefined): string | undefined {
	if (!text) return undefined;
	if (!URL.canParse(text) || !/^https?:/.test(text)) {
		throw new Error(`SKEIN_URL: ${text} is no URL such as https://skein.example.com`);
	}
	return new URL(text).origin;
}
