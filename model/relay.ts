// What the control plane may ask of the engine of a node, about the container of one task or about the volumes that
// tasks made, and of its agent about the log of a build: a closed list.
//
// The request travels in the answer to the node's held poll. The agent comes back for it: with `POST /agent/stream/<id>`
// whose body is a line of JSON (`AnswerHead`) and then the engine's own bytes, and, where the asker has something to
// send, with `GET /agent/stream/<id>` whose answer is that. Either side ends it by ending its body; the reply to the
// POST tells the agent that nobody reads any more.

import type { BuildId, ClusterId, TaskId } from "./id.ts";

/** All that an engine is ever asked about a container. Fields are named as Docker names them in its queries. */
export type EngineRequest =
	| { readonly kind: "inspect"; readonly size: boolean }
	| ({ readonly kind: "logs" } & LogsOptions)
	| { readonly kind: "top"; readonly arguments: string }
	| { readonly kind: "stats"; readonly stream: boolean; readonly oneShot: boolean }
	| { readonly kind: "changes" }
	| { readonly kind: "kill"; readonly signal: string }
	/** `seconds` empty: the grace that the container was made with. */
	| { readonly kind: "stop"; readonly signal: string; readonly seconds: string }
	| ({ readonly kind: "attach" } & AttachOptions)
	| ({ readonly kind: "resize" } & Size)
	| { readonly kind: "exec-create"; readonly body: Readonly<Record<string, unknown>> }
	| {
			readonly kind: "exec-start";
			readonly exec: string;
			readonly detach: boolean;
			readonly tty: boolean;
			readonly consoleSize: readonly number[] | null;
	  }
	| { readonly kind: "exec-inspect"; readonly exec: string }
	| ({ readonly kind: "exec-resize"; readonly exec: string } & Size)
	| { readonly kind: "archive-stat"; readonly path: string }
	| { readonly kind: "archive-get"; readonly path: string }
	| {
			readonly kind: "archive-put";
			readonly path: string;
			readonly noOverwriteDirNonDir: string;
			readonly copyUidGid: string;
	  };

export interface LogsOptions {
	readonly stdout: boolean;
	readonly stderr: boolean;
	readonly follow: boolean;
	readonly timestamps: boolean;
	/** Lines from the end, or `all`. */
	readonly tail: string;
	/** Unix seconds with fraction, empty for the beginning. */
	readonly since: string;
	readonly until: string;
	/** The labels that the log driver was told to keep, before each line. */
	readonly details: boolean;
}

export interface AttachOptions {
	readonly stdin: boolean;
	readonly stdout: boolean;
	readonly stderr: boolean;
	/** What was said before, too. */
	readonly logs: boolean;
	/** What is said from now on. */
	readonly stream: boolean;
	readonly detachKeys: string;
}

export interface Size {
	readonly height: string;
	readonly width: string;
}

/** And about named volumes: those that bear the cluster's label, or the agent answers that there is none. */
export type VolumeRequest = { readonly cluster: ClusterId } & (
	| {
			readonly kind: "volume-list";
			/** `true`: those that no container has; `false`: the others; empty: all. */
			readonly dangling: string;
	  }
	| { readonly kind: "volume-inspect" | "volume-remove"; readonly volume: string }
);

export interface ContainerQuestion {
	/** The container must bear this task's label, or the agent answers that there is none. */
	readonly task: TaskId;
	readonly containerId: string;
	readonly build?: never;
	readonly asked: EngineRequest;
}

export interface VolumeQuestion {
	readonly task?: never;
	readonly containerId?: never;
	readonly build?: never;
	readonly asked: VolumeRequest;
}

/** As text, what there is, and with `follow` what comes until the build ends. 404 where the build is not here. */
export interface BuildLogRequest {
	readonly kind: "build-log";
	readonly follow: boolean;
}

export interface BuildQuestion {
	readonly task?: never;
	readonly containerId?: never;
	readonly build: BuildId;
	readonly asked: BuildLogRequest;
}

export type NodeQuestion = ContainerQuestion | VolumeQuestion | BuildQuestion;

/** As the node is told. */
export type NodeRequest = NodeQuestion & {
	readonly id: string;
	/** The asker has bytes to send: the agent fetches them. */
	readonly sends: boolean;
};

/** The first line of the agent's body. */
export interface AnswerHead {
	/** The engine's; 101 where it went on in raw bytes. */
	readonly status: number;
	readonly type: string;
	/** `X-Docker-Container-Path-Stat`, of archives. */
	readonly pathStat?: string;
}
