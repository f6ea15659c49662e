// People, their sessions, their organizations, and who is what in which.

import { and, asc, count, eq, gt } from "drizzle-orm";
import type { Database, Statement } from "./client.ts";
import { asked, queriesOn, statementOf } from "./query.ts";
import { invitation, member, organization, session, user, verification } from "./schema.ts";

export interface Membership {
	readonly organization: string;
	readonly organizationName: string;
	readonly role: string;
}

export interface MemberRow {
	readonly user: string;
	readonly name: string;
	readonly email: string;
	readonly role: string;
	readonly createdMs: number;
}

export type InvitationRow = typeof invitation.$inferSelect;
type WholeOrganization = typeof organization.$inferSelect;
/** What it may have is set elsewhere. */
export type OrganizationRow = Omit<WholeOrganization, "limits">;

export interface SessionRow {
	readonly id: string;
	readonly createdAt: Date;
	readonly expiresAt: Date;
	readonly ipAddress: string | null;
	readonly userAgent: string | null;
}

export interface Users {
	/** The one of a control plane that somebody runs for themselves: a user and an organization, both called `owner`. */
	ensureOwner(nowMs: number): Promise<void>;
	find(user: string): Promise<Person | undefined>;
	/** The oldest first. */
	memberships(user: string): Promise<readonly Membership[]>;

	/** Whose session it is, and what they are where: the oldest membership first. */
	findSession(hash: string, nowMs: number): Promise<FoundSession | undefined>;
	sessions(user: string, nowMs: number): Promise<readonly SessionRow[]>;
	/** Whether there was one. */
	endSession(user: string, id: string, also: readonly Statement[]): Promise<boolean>;

	organization(id: string): Promise<OrganizationRow | undefined>;
	/** With its first owner. */
	createOrganization(
		row: OrganizationRow,
		owner: string,
		also: readonly Statement[],
	): Promise<void>;
	changeOrganization(
		id: string,
		change: { readonly name?: string; readonly auditDays?: number },
		also: readonly Statement[],
	): Promise<void>;
	members(organization: string): Promise<readonly MemberRow[]>;
	/** `also` follows where something changed; an organization's last owner is not changed: then false. */
	setRole(organization: string, user: string, role: string, also: Statement): Promise<boolean>;
	removeMember(organization: string, user: string, also: Statement): Promise<boolean>;

	invitations(organization: string, nowMs: number): Promise<readonly InvitationRow[]>;
	invite(row: InvitationRow, also: readonly Statement[]): Promise<void>;
	uninvite(organization: string, sha256: string, also: readonly Statement[]): Promise<void>;
	findInvitation(sha256: string, nowMs: number): Promise<InvitationRow | undefined>;
	/** Makes a member, once. False when somebody else followed the link first. */
	accept(sha256: string, user: string, nowMs: number, also: Statement): Promise<boolean>;

	findByEmail(email: string): Promise<{ readonly id: string; readonly name: string } | undefined>;
	/** How many codes for a new password are on their way to them. */
	openCodes(user: string, nowMs: number): Promise<number>;
	endCodes(user: string, also: readonly Statement[]): Promise<void>;
	/** All that is known of a user. */
	eraseUser(user: string, also: readonly Statement[]): Promise<void>;
	/** All but its clusters. */
	eraseOrganization(organization: string): Promise<void>;
}

export interface Person {
	readonly name: string;
	readonly email: string;
	/** Its mail reached them. */
	readonly emailVerified: boolean;
}

export interface FoundSession {
	readonly id: string;
	readonly user: string;
	readonly userName: string;
	readonly memberships: readonly Membership[];
}

/** How long the audit log is kept where nobody said. */
export const auditDays = 365;

export function openUsers(database: Database): Users {
	const db = queriesOn(database);
	/** Changed rows of the first of them. */
	const changing = async (statements: readonly Statement[]) => {
		const [first] = await database.write(statements);
		return (first?.rowsAffected ?? 0) > 0;
	};
	const memberships = (id: string) =>
		db
			.select({
				organization: member.organization,
				organizationName: organization.name,
				role: member.role,
			})
			.from(member)
			.innerJoin(organization, eq(organization.id, member.organization))
			.where(eq(member.user, id))
			.orderBy(asc(member.createdMs), asc(member.organization));
	return {
		async ensureOwner(nowMs) {
			const [made] = await asked(
				db
					.select({ user: member.user })
					.from(member)
					.where(eq(member.organization, "owner"))
					.limit(1),
			);
			if (made) return;
			const now = new Date(nowMs);
			await database.write([
				statementOf(
					db
						.insert(user)
						.values({
							id: "owner",
							name: "owner",
							// Of no domain, so nobody can sign up with it or be written to.
							email: "owner@localhost",
							emailVerified: false,
							createdAt: now,
							updatedAt: now,
						})
						.onConflictDoNothing(),
				),
				statementOf(
					db
						.insert(organization)
						.values({ id: "owner", name: "owner", auditDays, createdMs: nowMs })
						.onConflictDoNothing(),
				),
				statementOf(
					db
						.insert(member)
						.values({ organization: "owner", user: "owner", role: "owner", createdMs: nowMs })
						.onConflictDoNothing(),
				),
			]);
		},
		async find(id) {
			const [found] = await asked(
				db
					.select({ name: user.name, email: user.email, emailVerified: user.emailVerified })
					.from(user)
					.where(eq(user.id, id)),
			);
			return found;
		},
		memberships: (id) => asked(memberships(id)),

		async findSession(hash, nowMs) {
			const rows = await asked(
				db
					.select({
						id: session.id,
						user: user.id,
						userName: user.name,
						organization: organization.id,
						organizationName: organization.name,
						role: member.role,
					})
					.from(session)
					.innerJoin(user, eq(user.id, session.userId))
					.leftJoin(member, eq(member.user, user.id))
					.leftJoin(organization, eq(organization.id, member.organization))
					.where(and(eq(session.token, hash), gt(session.expiresAt, new Date(nowMs))))
					.orderBy(asc(member.createdMs), asc(member.organization)),
			);
			const [first] = rows;
			return (
				first && {
					id: first.id,
					user: first.user,
					userName: first.userName,
					memberships: rows.flatMap((row) =>
						row.organization && row.role
							? [
									{
										organization: row.organization,
										organizationName: row.organizationName ?? "",
										role: row.role,
									},
								]
							: [],
					),
				}
			);
		},
		sessions: (id, nowMs) =>
			asked(
				db
					.select()
					.from(session)
					.where(and(eq(session.userId, id), gt(session.expiresAt, new Date(nowMs))))
					.orderBy(asc(session.createdAt)),
			),
		endSession: (id, sessionId, also) =>
			changing([
				statementOf(
					db.delete(session).where(and(eq(session.userId, id), eq(session.id, sessionId))),
				),
				...also,
			]),

		async organization(id) {
			const [found] = await asked(db.select().from(organization).where(eq(organization.id, id)));
			return found;
		},
		async createOrganization(row, owner, also) {
			const { id, createdMs } = row;
			await database.write([
				statementOf(db.insert(organization).values(row)),
				statementOf(
					db.insert(member).values({ organization: id, user: owner, role: "owner", createdMs }),
				),
				...also,
			]);
		},
		async changeOrganization(id, change, also) {
			await database.write([
				statementOf(db.update(organization).set(change).where(eq(organization.id, id))),
				...also,
			]);
		},
		members: (id) =>
			asked(
				db
					.select({
						user: member.user,
						name: user.name,
						email: user.email,
						role: member.role,
						createdMs: member.createdMs,
					})
					.from(member)
					.innerJoin(user, eq(user.id, member.user))
					.where(eq(member.organization, id))
					.orderBy(asc(member.createdMs), asc(member.user)),
			),
		setRole: (id, who, role, also) =>
			changing([
				{
					sql: `update member set role = ? where organization = ? and user = ? and (? = 'owner' or ${notLastOwner})`,
					args: [role, id, who, role, id],
				},
				also,
			]),
		removeMember: (id, who, also) =>
			changing([
				{
					sql: `delete from member where organization = ? and user = ? and ${notLastOwner}`,
					args: [id, who, id],
				},
				also,
				{
					sql: `delete from token where account = ?1 and user = ?2 and not exists
						(select 1 from member where organization = ?1 and user = ?2)`,
					args: [id, who],
				},
			]),

		invitations: (id, nowMs) =>
			asked(
				db
					.select()
					.from(invitation)
					.where(and(eq(invitation.organization, id), gt(invitation.expiresMs, nowMs)))
					.orderBy(asc(invitation.createdMs)),
			),
		async invite(row, also) {
			await database.write([statementOf(db.insert(invitation).values(row)), ...also]);
		},
		async uninvite(id, sha256, also) {
			await database.write([
				statementOf(
					db
						.delete(invitation)
						.where(and(eq(invitation.organization, id), eq(invitation.sha256, sha256))),
				),
				...also,
			]);
		},
		async findInvitation(sha256, nowMs) {
			const [found] = await asked(
				db
					.select()
					.from(invitation)
					.where(and(eq(invitation.sha256, sha256), gt(invitation.expiresMs, nowMs))),
			);
			return found;
		},
		accept: (sha256, who, nowMs, also) =>
			changing([
				{
					sql: `insert into member (organization, user, role, created_ms)
						select organization, ?, role, ? from invitation where sha256 = ? and expires_ms > ?`,
					args: [who, nowMs, sha256, nowMs],
				},
				also,
				{ sql: "delete from invitation where sha256 = ?", args: [sha256] },
			]),

		async findByEmail(email) {
			const [found] = await asked(
				db.select({ id: user.id, name: user.name }).from(user).where(eq(user.email, email)),
			);
			return found;
		},
		async openCodes(id, nowMs) {
			const isOpen = and(eq(verification.value, id), gt(verification.expiresAt, new Date(nowMs)));
			const [found] = await asked(db.select({ open: count() }).from(verification).where(isOpen));
			return found?.open ?? 0;
		},
		async endCodes(id, also) {
			await database.write([
				statementOf(db.delete(verification).where(eq(verification.value, id))),
				...also,
			]);
		},
		async eraseUser(id, also) {
			await database.write([
				{ sql: "delete from user where id = ?", args: [id] },
				{ sql: "delete from verification where value = ?", args: [id] },
				...["session", "login", "member", "token"].map((table) => ({
					sql: `delete from ${table} where user = ?`,
					args: [id],
				})),
				...also,
			]);
		},
		async eraseOrganization(id) {
			await database.write([
				{ sql: "delete from organization where id = ?", args: [id] },
				{ sql: "delete from token where account = ?", args: [id] },
				...["member", "invitation", "audit"].map((table) => ({
					sql: `delete from ${table} where organization = ?`,
					args: [id],
				})),
			]);
		},
	};
}

/** Takes the organization's id once more. */
const notLastOwner = `(role <> 'owner' or
	(select count(*) from member as other where other.organization = ? and other.role = 'owner') > 1)`;
