import { expect, test } from "bun:test";
import type { NodeId, TaskId } from "../../model/id.ts";
import { Streams } from "./streams.ts";

const node = "n1" as NodeId;
const asked = {
	task: "t1" as TaskId,
	containerId: "c1",
	stdout: true,
	stderr: true,
	follow: true,
	timestamps: false,
	tail: "all",
	since: "",
	until: "",
};

test("a reader gets what the agent sends, and the agent is asked once", async () => {
	const streams = new Streams();
	const bell = streams.wait(node, new AbortController().signal);
	const reading = streams.read(node, asked, new AbortController().signal);
	await bell;
	const [request] = streams.take(node);
	expect(request).toMatchObject({ containerId: "c1", follow: true });
	expect(streams.take(node)).toEqual([]);
	const sent = streams.accept(node, request?.id ?? "", new Blob(["one\ntwo\n"]).stream());
	expect(await new Response(await reading).text()).toBe("one\ntwo\n");
	expect(await sent).toBe(true);
});

test("a node can not open another node's stream", async () => {
	const streams = new Streams();
	const going = new AbortController();
	const reading = streams.read(node, asked, going.signal);
	const [request] = streams.take(node);
	expect(await streams.accept("n2" as NodeId, request?.id ?? "", new Blob(["x"]).stream())).toBe(
		false,
	);
	going.abort();
	expect(reading).rejects.toThrow("went away");
});

test("a reader that goes away ends the agent's upload", async () => {
	const streams = new Streams();
	const going = new AbortController();
	const reading = streams.read(node, asked, going.signal);
	const [request] = streams.take(node);
	const endless = new ReadableStream<Uint8Array>({
		pull: async (to) => {
			await Bun.sleep(5);
			to.enqueue(new Uint8Array(8));
		},
	});
	const sent = streams.accept(node, request?.id ?? "", endless);
	const reader = (await reading).getReader();
	await reader.read();
	going.abort();
	expect(await sent).toBe(true);
});
