import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const script = await Bun.file(join(import.meta.dir, "install.sh")).text();

test("the installer is a script that a plain sh reads", () => {
	const read = Bun.spawnSync(["sh", "-n"], { stdin: Buffer.from(script) });
	expect(read.stderr.toString()).toBe("");
	expect(read.exitCode).toBe(0);
});

// Where systemd is not installed there is nobody to ask.
test.skipIf(Bun.which("systemd-analyze") === null)(
	"systemd knows every word of the unit",
	async () => {
		const unit = /cat >"\$unit" <<UNIT\n(.*?)\nUNIT\n/s.exec(script)?.[1] ?? "";
		expect(unit).toContain("[Service]");
		const plain = unit
			.replace(/^ExecStart=.*$/m, "ExecStart=/bin/true run")
			.replaceAll("$settings", "/etc/none");
		const folder = await mkdtemp(join(tmpdir(), "skein-unit-"));
		try {
			const file = join(folder, "skein-agent.service");
			await Bun.write(file, `${plain}\n`);
			const verified = Bun.spawnSync(["systemd-analyze", "verify", file]);
			expect(verified.stderr.toString()).not.toContain("skein-agent.service:");
		} finally {
			await rm(folder, { recursive: true });
		}
	},
);
