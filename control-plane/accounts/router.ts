// `/api/…` about people, organizations and tokens: what Docker has no word for.

import { Hono } from "hono";
import { addressRoutes } from "./addresses.ts";
import { tokenRoutes } from "./apitokens.ts";
import { auditRoutes } from "./auditlog.ts";
import type { AccountsEnv } from "./door.ts";
import { leavingRoutes } from "./leaving.ts";
import { organizationRoutes } from "./organizations.ts";
import { peopleRoutes } from "./people.ts";

export function accountsRouter(): Hono<AccountsEnv> {
	const router = new Hono<AccountsEnv>();
	for (const routes of [
		peopleRoutes(),
		addressRoutes(),
		organizationRoutes(),
		tokenRoutes(),
		auditRoutes(),
		leavingRoutes(),
	]) {
		router.route("/", routes);
	}
	return router;
}
