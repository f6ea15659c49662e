// How a route of our own is described: what the code cannot say of itself. Who may call it is in accounts/rights.ts, what
// it takes are the very schemas that its handler reads with, and a test walks the app's routes and holds both to it.

import type { z } from "zod";

export interface Group {
	readonly name: string;
	readonly about: string;
	/** By method and pattern, as Hono has them: `GET /api/tokens`. */
	readonly routes: Readonly<Record<string, Described>>;
}

export interface Described {
	/** A line. */
	readonly does: string;
	readonly more?: string;
	/** Of the pattern, where their names do not say it. */
	readonly path?: Readonly<Record<string, string>>;
	readonly query?: z.ZodObject;
	readonly headers?: Readonly<Record<string, string>>;
	readonly body?: z.ZodType | Media;
	/** By status. What is refused is the same everywhere, and not here. */
	readonly answers: Readonly<Record<number, z.ZodType | Media | null>>;
}

/** What is no JSON. */
export interface Media {
	readonly media: string;
}

export const isMedia = (body: z.ZodType | Media): body is Media => "media" in body;
