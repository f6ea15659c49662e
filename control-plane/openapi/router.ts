// `/api/openapi.json` and `/api/docs`: our own routes described, for programs and for people.
//
// Open to all: it is the same for everybody, and nothing of anybody's is in it.

import { Hono } from "hono";
import type { Route } from "../accounts/rights.ts";
import type { AppEnv } from "../world.ts";
import { documentOf } from "./document.ts";
import { pageOf } from "./page.ts";

/** It changes with the program alone. */
const caching = { "Cache-Control": "public, max-age=300" };

/** No script runs on it, whatever a name in it were. */
const policy = {
	"Content-Security-Policy":
		"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
	"X-Content-Type-Options": "nosniff",
};

/** @param routes all of the app's */
export function openApiRouter(routes: () => readonly Route[], version: string): Hono<AppEnv> {
	return new Hono<AppEnv>()
		.get("/api/openapi.json", (c) =>
			c.json(documentOf(routes(), version, c.get("publicUrl")), 200, {
				...caching,
				// A page of another site may read it: tools that show such documents are.
				"Access-Control-Allow-Origin": "*",
			}),
		)
		.get("/api/docs", (c) =>
			c.html(pageOf(documentOf(routes(), version, c.get("publicUrl"))), 200, {
				...caching,
				...policy,
			}),
		);
}
