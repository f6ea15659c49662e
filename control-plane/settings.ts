// The settings of a self-hosted control plane: the environment, parsed once.

import { join } from "node:path";
import { type Limits, parseLimits } from "../model/limits.ts";
import { parseKeyList } from "./accounts/master.ts";
import type { SignInVariables } from "./accounts/signin.ts";
import { parseTrusted, type Trusted } from "./proxies.ts";
import { parseShards, type ShardConfig } from "./store/shards.ts";

export interface Settings {
	readonly listen: { readonly host: string; readonly port: number };
	readonly socket: string;
	readonly data: string;
	readonly databaseUrl: string;
	readonly databaseToken: string | undefined;
	/** Where clusters lie besides; see store/shards.ts. */
	readonly shards: readonly ShardConfig[];
	readonly publicUrl: string | undefined;
	/** What follows a cluster's name in a host name: `docker.example.com`. */
	readonly dockerHost: string | undefined;
	/** The master key: clusters' keys are wrapped under it; several processes on one database need the same one. */
	readonly key: string | undefined;
	/** Master keys from before, accepted until nothing is wrapped under them. */
	readonly oldKeys: readonly string[];
	/** Who may sign up, GitHub's word for who they are, and what sends them mail. */
	readonly signIn: SignInVariables;
	/** Files in PEM: then the TCP listener speaks TLS. */
	readonly tls: { readonly cert: string; readonly key: string } | undefined;
	/** Whose `X-Forwarded-For` counts. */
	readonly trustedProxies: Trusted;
	readonly makeCluster: boolean;
	readonly makeNode: boolean;
	readonly meshRange: string;
	/** A node unheard for this long is down. */
	readonly nodeTimeoutMs: number;
	/** Of organizations that have none of their own. */
	readonly limits: Limits;
	readonly insecureRegistries: readonly string[];
	/** `HOST[:PORT]` of forges that are told how deployments go without TLS. */
	readonly insecureForges: readonly string[];
	/** The agents' program that is served instead of this code's own: to stay with an earlier one. */
	readonly agentFile: string | undefined;
	/** For how long a node must do well with a new agent before more nodes go there. */
	readonly agentSoakMs: number;
	/** `json` for machines that read the log, a line for people otherwise. */
	readonly log: "json" | "plain";
	/** May read the metrics, besides the owner's. */
	readonly metricsTokens: readonly string[];
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
		shards: parseShards(env["SKEIN_SHARDS"]),
		publicUrl: parseUrl(env["SKEIN_URL"]),
		dockerHost: env["SKEIN_DOCKER_HOST"] || undefined,
		key: env["SKEIN_KEY"] || undefined,
		oldKeys: parseKeyList(env["SKEIN_OLD_KEYS"]),
		signIn: {
			SKEIN_SIGNUP: env["SKEIN_SIGNUP"],
			SKEIN_GITHUB_CLIENT_ID: env["SKEIN_GITHUB_CLIENT_ID"],
			SKEIN_GITHUB_CLIENT_SECRET: env["SKEIN_GITHUB_CLIENT_SECRET"],
			SKEIN_MAIL_URL: env["SKEIN_MAIL_URL"],
			SKEIN_MAIL_TOKEN: env["SKEIN_MAIL_TOKEN"],
			SKEIN_MAIL_FROM: env["SKEIN_MAIL_FROM"],
			SKEIN_URL: env["SKEIN_URL"],
		},
		tls: parseTls(env["SKEIN_TLS_CERT"], env["SKEIN_TLS_KEY"]),
		trustedProxies: parseTrusted(env["SKEIN_TRUSTED_PROXY"]),
		makeCluster: env["SKEIN_CLUSTER"] !== "no",
		makeNode: env["SKEIN_NODE"] !== "no",
		meshRange: env["SKEIN_MESH_RANGE"] || defaultMeshRange,
		nodeTimeoutMs: Number(env["SKEIN_NODE_TIMEOUT_MS"] || 12_000),
		limits: parseLimits(env["SKEIN_LIMITS"]),
		insecureRegistries: words(env["SKEIN_INSECURE_REGISTRIES"]),
		insecureForges: words(env["SKEIN_INSECURE_FORGES"]),
		agentFile: env["SKEIN_AGENT_FILE"] || undefined,
		agentSoakMs: Number(env["SKEIN_AGENT_SOAK_MS"] || 60_000),
		log: parseLog(env["SKEIN_LOG"]),
		metricsTokens: words(env["SKEIN_METRICS_TOKEN"]),
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

const words = (text = "") => text.split(/[\s,]+/).filter(Boolean);

function parseLog(text: string | undefined): Settings["log"] {
	if (text === "json") return text;
	if (!text || text === "plain") return "plain";
	throw new Error(`SKEIN_LOG: ${text} is neither json nor plain`);
}

function parseTls(cert: string | undefined, key: string | undefined): Settings["tls"] {
	if (cert && key) return { cert, key };
	if (cert || key) throw new Error("SKEIN_TLS_CERT, SKEIN_TLS_KEY: give both files, or neither");
	return undefined;
}

function parseUrl(text: string | undefined): string | undefined {
	if (!text) return undefined;
	if (!URL.canParse(text) || !/^https?:/.test(text)) {
		throw new Error(`SKEIN_URL: ${text} is no URL such as https://skein.example.com`);
	}
	return new URL(text).origin;
}
