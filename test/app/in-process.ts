// The control plane in this process, and people of every role in the owner's organization.

import type { MemberRole } from "../../control-plane/accounts/actor.ts";
import type { SignInVariables } from "../../control-plane/accounts/signin.ts";
import type { Throttle } from "../../control-plane/accounts/throttle.ts";
import { newApiToken, sha256 } from "../../control-plane/accounts/tokens.ts";
import { randomId } from "../../control-plane/clusters.ts";
import type { TokenRow } from "../../control-plane/store/tokens.ts";
import type { AppEnv, World } from "../../control-plane/world.ts";
import { type Here, startHere } from "./here.ts";

export interface InProcess extends Pick<Here, "database" | "logged" | "stop"> {
	readonly world: World;
	readonly ownerToken: string;
	/** What time it is; tests move it. */
	nowMs: number;
	ask(path: string, options?: Ask): Promise<Response>;
	/** Someone with this role in the owner's organization, and a token of theirs. */
	member(role: MemberRole, token?: Partial<TokenRow>): Promise<{ user: string; token: string }>;
}

export interface Ask {
	readonly method?: string;
	readonly token?: string;
	readonly body?: unknown;
	readonly headers?: Readonly<Record<string, string>>;
	readonly env?: Partial<AppEnv["Bindings"]>;
}

export async function startInProcess(
	signIn: SignInVariables = {},
	throttle?: Throttle,
): Promise<InProcess> {
	const here = await startHere((same) => same, { signIn, ...(throttle && { throttle }) });
	const inProcess: InProcess = {
		world: here.world,
		database: here.database,
		logged: here.logged,
		ownerToken: here.token,
		nowMs: Date.now(),
		ask(path, { method = "GET", token, body, headers, env } = {}) {
			const request = new Request(`http://skein.test${path}`, {
				method,
				headers: {
					...(token && { Authorization: `Bearer ${token}` }),
					...(body !== undefined && { "Content-Type": "application/json" }),
					...headers,
				},
				...(body !== undefined && { body: JSON.stringify(body) }),
			});
			return here.fetch(request, { address: "192.0.2.7", ...env });
		},
		async member(role, fields = {}) {
			const user = randomId();
			const token = newApiToken();
			await here.database.write([
				{
					sql: "insert into member (organization, user, role, created_ms) values ('owner', ?, ?, ?)",
					args: [user, role, this.nowMs],
				},
			]);
			await here.world.access.tokens.put({
				sha256: await sha256(token),
				organization: "owner",
				user,
				name: `${role}'s`,
				kind: "secret",
				role,
				scopes: null,
				clusters: null,
				createdMs: this.nowMs,
				expiresMs: null,
				usedMs: null,
				...fields,
			});
			return { user, token };
		},
		stop: () => here.stop(),
	};
	here.clock.nowMs = () => inProcess.nowMs;
	return inProcess;
}
