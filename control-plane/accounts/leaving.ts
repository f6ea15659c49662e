// The way out: an organization, or an account, and all that is theirs. Each step can be taken again.
//
// An organization's audit log goes with it, so that it went is in the log of whoever runs this control plane.

import { Hono } from "hono";
import { conflict, forbidden, invalid } from "../../model/errors.ts";
import { owner } from "./actor.ts";
import { type AccountsContext, type AccountsEnv, actorOf, auditedRow } from "./door.ts";
import { personalRows } from "./people.ts";

export function leavingRoutes(): Hono<AccountsEnv> {
	return new Hono<AccountsEnv>()
		.delete("/api/organizations/:organization", async (c) => {
			const { organization, clusters } = actorOf(c);
			if (clusters !== "all") {
				throw forbidden("this token reaches certain clusters only: use one of all of them");
			}
			if (organization === owner) throw forbidden(ownersStay);
			await eraseOrganization(c, organization);
			return c.body(null, 204);
		})
		.delete("/api/account", async (c) => {
			const actor = actorOf(c);
			const { access } = c.get("accounts");
			if (actor.user === owner) throw forbidden(ownersStay);
			if (actor.kind !== "user") {
				throw invalid("this came with a token: sign in, and delete your account with the session");
			}
			const alone: string[] = [];
			for (const { organization, organizationName, role } of await access.users.memberships(
				actor.user,
			)) {
				if (role !== "owner") continue;
				const members = await access.users.members(organization);
				const others = members.filter(({ user }) => user !== actor.user);
				if (others.length === 0) alone.push(organization);
				else if (!others.some((each) => each.role === "owner")) {
					throw conflict(
						`you are the last owner of ${organizationName}, and others are in it: make one of them owner first, or delete it`,
					);
				}
			}
			for (const organization of alone) await eraseOrganization(c, organization);
			const rows = await personalRows(c, actor, { target: actor.user, status: 204 });
			if (!rows.some(({ organization }) => organization === owner))
				rows.push(operators(c, actor.user));
			await access.users.eraseUser(actor.user, rows.map(access.audit.statement));
			return c.body(null, 204);
		});
}

/** Clusters first, in databases of their own: so the log says that it was begun, and then that it ended. */
async function eraseOrganization(c: AccountsContext, id: string): Promise<void> {
	const { access, eraseClusters } = c.get("accounts");
	const name = (await access.users.organization(id))?.name ?? "";
	const row = {
		...operators(c, `${id} ${name}`),
		action: "DELETE /api/organizations/:organization",
		status: null,
	};
	await access.audit.write(row);
	await eraseClusters(id);
	await access.users.eraseOrganization(id);
	await access.audit.ended(row, 204, row.target);
}

const operators = (c: AccountsContext, target: string) => auditedRow(c, target, owner, 204);

const ownersStay =
	"this is the owner's of the control plane itself: it ends when the control plane and its data are removed";
