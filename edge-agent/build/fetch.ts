// Exactly one commit of a repository, without its history, in a folder.
//
// Git sees no settings of this machine, and no protocol but https, http and ssh. Its login is in files in memory, that a
// program of ours reads out to it for the repository's own host alone: never in an argument, a URL or a log.

import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BuildAssignment, BuildSecrets } from "../../model/build.ts";
import { BuildFailure } from "./failure.ts";

export interface GitWorld {
	/** Of memory, for what is secret; the build's own. */
	readonly secretDir: string;
	readonly signal: AbortSignal;
	run(command: string, args: readonly string[], place: Place): Promise<number>;
	line(text: string): void;
}

export interface Place {
	readonly cwd: string;
	readonly env: Readonly<Record<string, string>>;
	/** Each line of what it says. */
	line(text: string): void;
}

/** Throws `BuildFailure`, in a sentence. */
export async function fetchCommit(
	world: GitWorld,
	{ repository, commit, ref }: Pick<BuildAssignment, "repository" | "commit" | "ref">,
	secrets: Pick<BuildSecrets, "login" | "ssh">,
	dir: string,
): Promise<void> {
	if (!/^(https?:\/\/|ssh:\/\/|[\w.-]+@[\w.-]+:)[^\s]+$/.test(repository)) {
		throw new BuildFailure(
			`repository ${repository}: https://…, ssh://… or git@host:path is needed`,
		);
	}
	if (!/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(commit)) {
		throw new BuildFailure(`commit ${commit}: a full object name is needed`);
	}
	await mkdir(dir, { recursive: true, mode: 0o700 });
	const env = await environmentOf(world.secretDir, repository, secrets);
	const git = async (...args: string[]) => {
		const said: string[] = [];
		const code = await world.run("git", ["-c", "protocol.version=2", ...args], {
			cwd: dir,
			env,
			line(text) {
				said.push(text);
				world.line(text);
			},
		});
		return { code, said };
	};
	const must = async (...args: string[]) => {
		const { code, said } = await git(...args);
		if (code !== 0) throw new BuildFailure(`git ${args[0]}: ${reasonOf(said, code)}`);
	};
	world.line(`$ git fetch --depth 1 ${repository} ${commit}`);
	const format = commit.length === 64 ? ["--object-format=sha256"] : [];
	await must("init", "--quiet", "--template=", ...format);
	const fetch = (...what: string[]) =>
		git("fetch", "--no-tags", "--no-recurse-submodules", ...what);
	const exact = await fetch("--depth", "1", "--", repository, commit);
	if (exact.code !== 0 && !(await isFetchedByRef())) {
		throw new BuildFailure(
			`git fetch ${repository} ${commit}: ${reasonOf(exact.said, exact.code)}`,
		);
	}
	await must("checkout", "--quiet", "--force", commit);
	// It is another with every fetch: a cached `COPY . .` would never be found, and images would tell of the repository.
	await rm(join(dir, ".git"), { recursive: true });

	/** A server may give out no commit that no ref leads to directly: then as much of the ref as leads to it. */
	async function isFetchedByRef(): Promise<boolean> {
		const isRefused = exact.said.some((line) =>
			/not our ref|unadvertised object|no such remote ref|allow.*sha1|could not find remote ref/i.test(
				line,
			),
		);
		if (!isRefused || ref === "") return false;
		if (!/^[\w][\w./+@-]*$/.test(ref)) throw new BuildFailure(`ref ${ref}: refs/heads/… is needed`);
		world.line(`the server does not give it by its name: by ${ref}`);
		for (const depth of [["--depth", "1"], ["--depth", "200"], []]) {
			const deeper = depth.length === 0 ? ["--unshallow"] : depth;
			const { code, said } = await fetch(...deeper, "--", repository, ref);
			if (code !== 0) throw new BuildFailure(`git fetch ${ref}: ${reasonOf(said, code)}`);
			const { code: found } = await git("cat-file", "-e", `${commit}^{commit}`);
			if (found === 0) return true;
		}
		throw new BuildFailure(
			`commit ${commit} is not in ${ref} of ${repository}: was it pushed over?`,
		);
	}
}

async function environmentOf(
	secretDir: string,
	repository: string,
	{ login, ssh }: Pick<BuildSecrets, "login" | "ssh">,
): Promise<Record<string, string>> {
	const file = async (name: string, text: string, mode = 0o600) => {
		const path = join(secretDir, name);
		await writeFile(path, text, { mode });
		return path;
	};
	const env: Record<string, string> = {
		HOME: secretDir,
		LC_ALL: "C",
		GIT_CONFIG_NOSYSTEM: "1",
		GIT_CONFIG_GLOBAL: "/dev/null",
		GIT_TERMINAL_PROMPT: "0",
		GIT_ALLOW_PROTOCOL: "https:http:ssh",
		GIT_ASKPASS: "true",
		GIT_SSH_COMMAND: "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes",
	};
	if (login) {
		const user = await file("git-user", login.user);
		const password = await file("git-password", login.password);
		const { protocol, host } = new URL(repository);
		env["GIT_ASKPASS"] = await file(
			"git-askpass",
			askpass(`${protocol}//`, host, user, password),
			0o700,
		);
	}
	if (ssh) {
		const key = await file("git-key", ssh.key.endsWith("\n") ? ssh.key : `${ssh.key}\n`);
		const hosts = await file("git-hosts", ssh.knownHosts);
		env["GIT_SSH_COMMAND"] += ` -o IdentitiesOnly=yes -o UserKnownHostsFile=${hosts} -i ${key}`;
	}
	return env;
}

/** Git asks `Username for 'https://host': ` and `Password for 'https://user@host': `; of another host it learns nothing. */
const askpass = (scheme: string, host: string, user: string, password: string) => `#!/bin/sh
case $1 in
"Username for '${scheme}${host}'"*) cat ${user} ;;
"Password for '${scheme}"*"@${host}'"*) cat ${password} ;;
*) exit 1 ;;
esac
`;

/** What git says last is what was wrong; what it says to itself is left out. */
/** In a sentence, of what git and ssh said; with the remedy where there is one. */
export function reasonOf(said: readonly string[], code: number): string {
	const has = (words: RegExp) => said.some((line) => words.test(line));
	if (has(/cannot run ssh|ssh: (command )?not found/)) {
		return "this node has no ssh: `apt-get install openssh-client` on it, or another system's package of the name";
	}
	if (has(/host key verification failed/i)) {
		return "the host's key is none of those given: secrets.ssh.knownHosts takes what `ssh-keyscan HOST` says, once you have proved it";
	}
	const words = said.filter((line) => /^(fatal|error|remote): /.test(line));
	const line = words.find((word) => word.startsWith("fatal: ")) ?? words.at(-1);
	const reason = line?.replace(/^(fatal|error|remote): /, "") ?? `exit ${code}`;
	const isLogin = has(
		/authentication failed|could not read (username|password)|permission denied \(|403/i,
	);
	return isLogin ? `${reason}: the repository wants a login, or refuses the one given` : reason;
}
