// A bare repository behind git's own http-backend, with our hook, and a person's clone of it that pushes.

import { cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Lab } from "../lab/lab.ts";
import { must } from "../lab/run.ts";

const root = join(import.meta.dir, "../..");
const address = "192.168.77.254:8080";
const ann = {
	GIT_AUTHOR_NAME: "Ann",
	GIT_AUTHOR_EMAIL: "ann@example.org",
	GIT_COMMITTER_NAME: "Ann",
	GIT_COMMITTER_EMAIL: "ann@example.org",
};

export interface Repository {
	readonly url: string;
	/** From now on pushes are told there: to the control plane of the lab, by the path of that address. */
	hook(webhook: string, secret: string): Promise<void>;
	/** In the clone. */
	git(...args: readonly string[]): Promise<string>;
	/** Commits and pushes, to `main` unless told; gives the commit. */
	push(files: Readonly<Record<string, string>>, branch?: string): Promise<string>;
}

/** Serves whatever lies in the lab's folder `git`. */
export async function serveGit({ client, dir }: Lab): Promise<void> {
	const served = join(dir, "git");
	await mkdir(served, { recursive: true });
	client.spawn([process.execPath, join(import.meta.dir, "git-server.ts"), address, served]);
}

export async function makeRepository({ client, dir }: Lab, name: string): Promise<Repository> {
	const bare = join(dir, `git/${name}.git`);
	const work = join(dir, `work-${name}`);
	const url = `http://${address}/${name}.git`;
	await must(["git", "init", "-q", "--bare", "-b", "main", bare]);
	await must(["git", "-C", bare, "config", "http.receivepack", "true"]);
	await cp(join(root, "control-plane/webhooks/hook.sh"), join(bare, "hooks/post-receive"));
	await must(["chmod", "755", join(bare, "hooks/post-receive")]);
	await must(["git", "init", "-q", "-b", "main", work]);
	await must(["git", "-C", work, "remote", "add", "origin", url]);
	const git = (...args: readonly string[]) =>
		client.must(["git", "-C", work, ...args], { env: { HOME: dir, ...ann } });
	return {
		url,
		git,
		async hook(webhook, secret) {
			const there = `http://192.168.77.254:8787${new URL(webhook).pathname}`;
			await must(["git", "-C", bare, "config", "skein.webhook", there]);
			await must(["git", "-C", bare, "config", "skein.secret", secret]);
		},
		async push(files, branch = "main") {
			for (const [path, text] of Object.entries(files)) {
				await mkdir(dirname(join(work, path)), { recursive: true });
				await writeFile(join(work, path), text);
			}
			await git("add", "-A");
			await git("commit", "-q", "-m", Object.values(files).join(" ").slice(0, 40));
			await git("push", "-q", "origin", `HEAD:${branch}`);
			return (await git("rev-parse", "HEAD")).trim();
		},
	};
}
