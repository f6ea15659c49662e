// The lab's one image: busybox, its applets, and a page that says who answered whom.

import { cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "./run.ts";

export const busyboxImage = "lab/busybox:1";

/** `httpd -f -p 80 -h /www`, then GET /cgi-bin/who: the container's name, the client's address. */
const who = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "$(hostname) $(echo "$REMOTE_ADDR" | tr -d '[]' | sed 's/^::ffff://')"
`;

/** A tar of busybox's root file system, made from the binary in one of the nodes' roots. */
export async function busyboxRootfs(root: string): Promise<Uint8Array> {
	const dir = await mkdtemp(join(tmpdir(), "skein-lab-image-"));
	try {
		const binary = join(root, "usr/bin/busybox");
		for (const name of ["bin", "etc", "proc", "sys", "dev", "root", "www/cgi-bin"]) {
			await mkdir(join(dir, name), { recursive: true });
		}
		await mkdir(join(dir, "tmp"), { mode: 0o1777 });
		await cp(binary, join(dir, "bin/busybox"));
		const applets = (await must([binary, "--list"])).trim().split("\n");
		for (const applet of applets.filter((name) => name !== "busybox")) {
			await symlink("busybox", join(dir, "bin", applet));
		}
		await Bun.write(
			join(dir, "etc/passwd"),
			"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
		);
		await Bun.write(join(dir, "etc/group"), "root:x:0:\nuser:x:1000:\n");
		await Bun.write(join(dir, "www/cgi-bin/who"), who);
		await must(["chmod", "755", join(dir, "www/cgi-bin/who")]);
		const tar = Bun.spawn(["tar", "-C", dir, "--owner=0", "--group=0", "-cf", "-", "."]);
		return new Uint8Array(await new Response(tar.stdout).arrayBuffer());
	} finally {
		await rm(dir, { recursive: true });
	}
}
