// Every refusal the control plane can give. Each door maps these five, once, to its own form.

export type RefusalKind = "not-found" | "conflict" | "invalid" | "forbidden" | "unavailable";

export interface RefusalOptions extends ErrorOptions {
	readonly retryAfterSeconds?: number;
}

/** A request we understood and refuse. `message` is for the user: it names the field and the remedy. */
export class Refusal extends Error {
	readonly kind: RefusalKind;
	/** When the same request may well succeed. */
	readonly retryAfterSeconds: number | undefined;

	constructor(kind: RefusalKind, message: string, options: RefusalOptions = {}) {
		super(message, options);
		this.name = "Refusal";
		this.kind = kind;
		this.retryAfterSeconds = options.retryAfterSeconds;
	}
}

export const notFound = (message: string) => new Refusal("not-found", message);
export const conflict = (message: string) => new Refusal("conflict", message);
export const invalid = (message: string, options?: ErrorOptions) =>
	new Refusal("invalid", message, options);
export const forbidden = (message: string) => new Refusal("forbidden", message);
export const unavailable = (message: string, options?: RefusalOptions) =>
	new Refusal("unavailable", message, options);

/** As HTTP says it. */
export function retryHeader({ retryAfterSeconds }: Refusal): Readonly<Record<string, string>> {
	return retryAfterSeconds === undefined ? {} : { "Retry-After": String(retryAfterSeconds) };
}

/** What was caught, in words: anything can be thrown. */
export function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
