// A Git server over HTTP, for tests: git's own http-backend behind a door that wants a login for what is under /private.
//
// Run inside the lab, where the nodes reach it: git-server.ts ADDRESS FOLDER-OF-REPOSITORIES.

const [address = "", root = ""] = process.argv.slice(2);
const [hostname = "", port = ""] = address.split(":");
const login = `Basic ${btoa("builder:let-me-in")}`;

async function answer(request: Request): Promise<Response> {
	const { pathname, search } = new URL(request.url);
	if (pathname.startsWith("/private") && request.headers.get("authorization") !== login) {
		return new Response("no", {
			status: 401,
			headers: { "www-authenticate": 'Basic realm="git"' },
		});
	}
	const backend = Bun.spawn(["git", "-c", "safe.directory=*", "http-backend"], {
		env: {
			PATH: process.env["PATH"] ?? "",
			GIT_PROJECT_ROOT: root,
			GIT_HTTP_EXPORT_ALL: "1",
			PATH_INFO: pathname,
			QUERY_STRING: search.slice(1),
			REQUEST_METHOD: request.method,
			CONTENT_TYPE: request.headers.get("content-type") ?? "",
			HTTP_CONTENT_ENCODING: request.headers.get("content-encoding") ?? "",
			GIT_PROTOCOL: request.headers.get("git-protocol") ?? "",
			REMOTE_ADDR: "192.168.77.1",
		},
		stdin: new Blob([await request.arrayBuffer()]),
		stdout: "pipe",
		stderr: "inherit",
	});
	const said = Buffer.from(await new Response(backend.stdout).arrayBuffer());
	const end = said.indexOf("\r\n\r\n");
	const fields = said.toString("latin1", 0, end).split("\r\n");
	const headers = new Headers(fields.map((field) => field.split(": ", 2) as [string, string]));
	const status = Number(headers.get("status")?.split(" ")[0] ?? 200);
	headers.delete("status");
	return new Response(said.subarray(end + 4), { status, headers });
}

Bun.serve({
	hostname,
	port: Number(port),
	idleTimeout: 0,
	maxRequestBodySize: 2 ** 30,
	fetch: answer,
});
console.log("ready");
