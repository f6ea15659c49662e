// What is said to a forge of a deployment, and what each forge is asked in its own words. Data: `say.ts` sends it.

/** Said once more it changes nothing: statuses are known by their context, deployments by their id. */
export interface Saying {
	readonly state: "queued" | "running" | "succeeded" | "failed" | "stopped" | "removed";
	/** For people, in one line of at most `longestDescription` characters. */
	readonly description: string;
	/** The same for every deployment of one environment: `skein/web/production`. */
	readonly context: string;
	/** As the forge lists environments: `web/production`. */
	readonly environment: string;
	/** Goes again by itself: a preview. */
	readonly isTransient: boolean;
	readonly commit: string;
	/** A branch's or tag's short name; empty where only the commit is known. */
	readonly ref: string;
	readonly isTag: boolean;
	/** Where people find what was deployed, and what was printed; empty where that is not known. */
	readonly url: string;
	readonly log: string;
	/** Ours. */
	readonly deployment: string;
	/** The commit's status is a later deployment's to say. */
	readonly isOvertaken: boolean;
}

export const longestDescription = 140;

/** One request: the path begins behind the API's address. */
export interface Asked {
	readonly method: "GET" | "POST" | "PUT";
	readonly path: string;
	readonly body?: Readonly<Record<string, unknown>>;
}

export interface ForgeApi {
	/** As people know it: `GitHub`. */
	readonly name: string;
	/** What a token must be allowed, in the words of the forge's own pages. */
	readonly needs: string;
	/** Where the API begins, at the repository's host. */
	base(host: string): string;
	headers(token: ForgeToken): Readonly<Record<string, string>>;
	status(project: string, saying: Saying): Asked;
	/** Of an answer's text: it is so already. */
	isKnown?(text: string): boolean;
	/** Absent where the forge has none that others may write. */
	readonly deployments?: {
		/** Those among which an attempt whose answer was lost may have left this one. */
		find(project: string, saying: Saying): Asked;
		found(answer: unknown, saying: Saying): string | undefined;
		make(project: string, saying: Saying): Asked;
		/** Its id; and whether making it said its state. */
		readonly isSaidByMaking: boolean;
		/** Null where there is nothing to say in this state. */
		state(project: string, id: string, saying: Saying): Asked | null;
	};
}

export interface ForgeToken {
	readonly token: string;
	/** Whose it is, where the forge takes both as a login. */
	readonly user?: string | undefined;
}
