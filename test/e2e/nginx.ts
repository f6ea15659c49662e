// A real server program to run: nginx from Debian's packages, in an image made for the tests.
//
// Besides its document root it answers `/whoami`, and any datagram on UDP 5300, with its own name, its address and the
// address it sees the client at, which is what the sessions ask about.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const packages = [
	"nginx",
	"nginx-common",
	"libnginx-mod-stream",
	"libc6",
	"libcrypt1",
	"libpcre2-8-0",
	"libssl3",
	"zlib1g",
	"busybox",
];

/** Beside nginx, what a person types into the container. With libc, so that names are looked up as programs do it. */
const applets = "cat cut hostname ls nc nslookup ping sh sleep tail timeout wget".split(" ");

const config = `user root;
daemon off;
load_module modules/ngx_stream_module.so;
error_log stderr;
pid /run/nginx.pid;
events { worker_connections 512; }
stream {
	server { listen 5300 udp; return "$hostname $server_addr $remote_addr\\n"; }
}
http {
	include /etc/nginx/mime.types;
	access_log /dev/stdout;
	keepalive_timeout 65;
	# A kept connection ends now and then, announced, so that clients of a task that leaves go elsewhere within its drain:
	# by the clock, since a hundred requests take longer than that on a busy machine.
	keepalive_time 5s;
	server {
		listen 80;
		root /usr/share/nginx/html;
		location = /whoami { return 200 "$hostname $server_addr $remote_addr\\n"; }
	}
}
`;

/** Makes the root file system once per machine and gives it as a tar file, for `docker import`. */
export async function nginxRootTar(cache: string): Promise<string> {
	const recipe = Bun.hash(`${packages}${applets}${config}`).toString(36);
	const tar = join(cache, `nginx-${recipe}.tar`);
	if (await Bun.file(tar).exists()) return tar;
	await mkdir(cache, { recursive: true });
	const work = await mkdtemp(join(tmpdir(), "skein-nginx-"));
	try {
		const root = join(work, "root");
		await run(work, ["apt-get", "download", ...packages]);
		for await (const file of new Bun.Glob("*.deb").scan(work)) {
			await run(work, ["dpkg", "-x", file, root]);
		}
		for (const folder of [
			"run",
			"tmp",
			"proc",
			"dev",
			"sys",
			"var/log/nginx",
			"bin",
			"var/lib/nginx",
		]) {
			await mkdir(join(root, folder), { recursive: true });
		}
		for (const applet of applets) {
			await run(work, ["ln", "-sf", "busybox", join(root, "bin", applet)]);
		}
		await Bun.write(join(root, "etc/nginx/nginx.conf"), config);
		await Bun.write(join(root, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\n");
		await Bun.write(join(root, "etc/group"), "root:x:0:\n");
		await Bun.write(join(root, "usr/share/nginx/html/index.html"), "skein nginx\n");
		await run(work, ["tar", "-C", root, "-cf", `${tar}.part`, "."]);
		await run(work, ["mv", `${tar}.part`, tar]);
		return tar;
	} finally {
		await rm(work, { recursive: true, force: true });
	}
}

async function run(cwd: string, command: readonly string[]): Promise<void> {
	const child = Bun.spawn([...command], { cwd, stdout: "pipe", stderr: "pipe" });
	const [code, stderr] = await Promise.all([child.exited, new Response(child.stderr).text()]);
	if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr.trim()}`);
}
