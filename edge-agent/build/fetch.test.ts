// What git and ssh say when a repository is not given, as they said it.

import { expect, test } from "bun:test";
import { reasonOf } from "./fetch.ts";

const unread = "fatal: Could not read from remote repository.";

test.each([
	[["ssh -F /dev/null -i key: 1: ssh: not found", unread], "this node has no ssh"],
	[["error: cannot run ssh: No such file or directory", "fatal: unable to fork"], "has no ssh"],
	[["Host key verification failed.", unread], "secrets.ssh.knownHosts"],
	[["ann@git.example: Permission denied (publickey).", unread], "the repository wants a login"],
	[
		["remote: Repository not found.", "fatal: repository 'x' not found"],
		"repository 'x' not found",
	],
])("%j", (said, reason) => {
	expect(reasonOf(said, 128)).toContain(reason);
});
