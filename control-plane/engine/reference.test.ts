import { expect, test } from "bun:test";
import { parseReference } from "./reference.ts";

const digest = `sha256:${"a".repeat(64)}`;

test.each<[string, string, string, string | null, string | null]>([
	["nginx", "docker.io", "library/nginx", "latest", null],
	["nginx:1.22", "docker.io", "library/nginx", "1.22", null],
	["team/web", "docker.io", "team/web", "latest", null],
	["docker.io/nginx", "docker.io", "library/nginx", "latest", null],
	["index.docker.io/team/web", "docker.io", "team/web", "latest", null],
	["localhost/web", "localhost", "web", "latest", null],
	["10.77.0.1:5000/bb:v2", "10.77.0.1:5000", "bb", "v2", null],
	["registry.example.com/a/b/c:x", "registry.example.com", "a/b/c", "x", null],
	["[::1]:5000/web", "[::1]:5000", "web", "latest", null],
	[`nginx@${digest}`, "docker.io", "library/nginx", null, digest],
	[`nginx:1@${digest}`, "docker.io", "library/nginx", "1", digest],
	["a__b/c-d.e", "docker.io", "a__b/c-d.e", "latest", null],
])("%s", (text, host, path, tag, wanted) => {
	expect(parseReference(text)).toEqual({ host, path, tag, digest: wanted });
});

test.each([
	"",
	"Nginx",
	"team/Web",
	"nginx:",
	"nginx@sha256:short",
	"a b",
	"nginx:tag:tag",
	"Bad:::image",
	"/nginx",
	"team//web",
	"-nginx",
	"nginx@x@y",
	`nginx:${"t".repeat(129)}`,
	"n".repeat(256),
	"../../etc/passwd",
	"host.example.com/../v2/other",
])("%s is no image", (text) => {
	expect(parseReference(text)).toStartWith("invalid reference format");
});
