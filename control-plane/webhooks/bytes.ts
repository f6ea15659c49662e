// Bytes: signatures are of them, and what strangers send is counted while it comes.

export const bytesOf = (text: string): Uint8Array<ArrayBuffer> =>
	Uint8Array.from(new TextEncoder().encode(text));

/** One after the other. */
export const bytesOfAll = async (parts: readonly Uint8Array<ArrayBuffer>[]) =>
	new Uint8Array(await new Blob([...parts]).arrayBuffer());

/** All of it, or what `tooMany` says: never more than that is held. */
export async function bytesWithin(
	body: ReadableStream<Uint8Array> | null,
	mostBytes: number,
	tooMany: () => Error,
): Promise<Uint8Array<ArrayBuffer>> {
	const parts: Uint8Array<ArrayBuffer>[] = [];
	let bytes = 0;
	for await (const part of (body ?? []) as unknown as AsyncIterable<Uint8Array<ArrayBuffer>>) {
		bytes += part.byteLength;
		if (bytes > mostBytes) throw tooMany();
		parts.push(part);
	}
	return bytesOfAll(parts);
}
