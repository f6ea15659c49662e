import { expect, test } from "bun:test";
import { failureOf, pushRemedy } from "./failure.ts";

/** As engines 20.10, 26.1 and 28.5 said it. */
test.each([
	[
		"a step of BuildKit",
		[
			"#5 [base 2/2] RUN true",
			"#5 DONE 1.2s",
			"#6 [stage-1 1/1] RUN echo about to fail; exit 3",
			"#6 3.010 about to fail",
			'#6 ERROR: process "/bin/sh -c echo about to fail; exit 3" did not complete successfully: exit code: 3',
			"------",
			'ERROR: failed to build: failed to solve: process "/bin/sh -c echo about to fail; exit 3" did not complete successfully: exit code: 3',
		],
		"[stage-1 1/1] RUN echo about to fail; exit 3: exit code 3",
	],
	[
		"the same of 20.10",
		[
			"#6 [stage-1 1/1] RUN echo about to fail; exit 3",
			"#6 sha256:26188b8c2796ce3ac545fa076dde07a309d2b88881a255edd2f6fd57fe015679",
			"#6 ERROR: executor failed running [/bin/sh -c echo about to fail; exit 3]: exit code: 3",
			"executor failed running [/bin/sh -c echo about to fail; exit 3]: exit code: 3",
		],
		"[stage-1 1/1] RUN echo about to fail; exit 3: exit code 3",
	],
	[
		"the same of the classic builder",
		[
			"Step 4/4 : RUN echo about to fail; exit 3",
			" ---> Running in e8e1542043a3",
			"about to fail",
			"The command '/bin/sh -c echo about to fail; exit 3' returned a non-zero code: 3",
		],
		"[4/4] RUN echo about to fail; exit 3: exit code 3",
	],
	[
		"a file that is not there",
		["#5 [2/2] COPY nothere /x", '#5 ERROR: "/nothere" not found: not found', "------"],
		'[2/2] COPY nothere /x: "/nothere" not found: not found',
	],
	[
		"a base image that is not to be had",
		[
			"#2 [internal] load metadata for docker.io/lab/none:1",
			"#2 ERROR: failed to do request: Head: dial tcp: connection refused",
		],
		"load metadata for docker.io/lab/none:1: failed to do request: Head: dial tcp: connection refused",
	],
	[
		"a Dockerfile that is none",
		[
			"#1 DONE 0.3s",
			"ERROR: failed to build: failed to solve: dockerfile parse error on line 1: unknown instruction: FRO (did you mean FROM?)",
		],
		"dockerfile parse error on line 1: unknown instruction: FRO (did you mean FROM?)",
	],
	[
		"a disk that is full",
		[
			"#5 [2/2] RUN make",
			"#5 3.1 cc: write: No space left on device",
			"#5 ERROR: process: exit code: 1",
		],
		"[2/2] RUN make: the disk of Docker is full: docker builder prune, or docker system prune, makes room",
	],
	["nothing at all", [], "exit 1"],
])("%s", (_name, said, sentence) => expect(failureOf(said, 1)).toBe(sentence));

test.each([
	[
		"unauthorized: authentication required",
		true,
		"reg.example:5000 refuses the login that it was given, or that login may not push to team/web (docker skein app secret NAME registries.reg.example:5000 --user USER gives another)",
	],
	["no basic auth credentials", false, "reg.example:5000 wants a login: docker skein app secret"],
	["denied: requested access to the resource is denied", true, "may not push to team/web"],
	[
		"name unknown: The repository with name 'team/web' does not exist in the registry with id '123'",
		true,
		"make the repository team/web in reg.example:5000 first",
	],
	["error parsing HTTP 404 response body: 404 page not found", false, "look at `registry`"],
	[
		'Get "https://reg.example:5000/v2/": dial tcp: lookup reg.example: no such host',
		true,
		"is reg.example:5000 the registry's address, and does this node reach it?",
	],
	[
		'Get "https://reg.example:5000/v2/": http: server gave HTTP response to HTTPS client',
		false,
		"insecure-registries",
	],
	[
		'Get "https://reg.example:5000/v2/": x509: certificate signed by unknown authority',
		false,
		"/etc/docker/certs.d/reg.example:5000/ca.crt",
	],
] as const)("what to do about a push: %s", (said, isLoggedIn, remedy) => {
	expect(pushRemedy("reg.example:5000/team/web:3f2a1b0", isLoggedIn, said)).toContain(remedy);
});

test("what nobody knows a remedy for stands as it is", () => {
	expect(pushRemedy("reg.example/web:1", true, "blob upload invalid")).toBe("");
});
