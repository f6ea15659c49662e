// Every refusal the control plane can give. Each door maps these five, once, to its own form.

export type RefusalKind = "not-found" | "conflict" | "invalid" | "forbidden" | "unavailable";

/** A request we understood and refuse. `message` is for the user: it names the field and the remedy. */
export class Refusal extends Error {
	readonly kind: RefusalKind;

	constructor(kind: RefusalKind, message: string, options?: ErrorOptions) {
		super(message, options);
		this.name = "Refusal";
		this.kind = kind;
	}
}

export const notFound = (message: string) => new Refusal("not-found", message);
export const conflict = (message: string) => new Refusal("conflict", message);
export const invalid = (message: string, options?: ErrorOptions) =>
	new Refusal("invalid", message, options);
export const forbidden = (message: string) => new Refusal("forbidden", message);
export const unavailable = (message: string, options?: ErrorOptions) =>
	new Refusal("unavailable", message, options);

/** What was caught, in words: anything can be thrown. */
export function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
