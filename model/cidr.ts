// IPv4 addresses and ranges, as the text people write ("10.0.1.5", "10.0.1.0/24") and as numbers to reckon with.

/** A range: `base` is its first address as an unsigned number, `prefix` the count of leading bits. */
export interface Range {
	readonly base: number;
	readonly prefix: number;
}

/** The address as an unsigned 32-bit number, or undefined if the text is no IPv4 address. */
export function parseAddress(text: string): number | undefined {
	const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
	if (!match) return undefined;
	const bytes = match.slice(1).map(Number);
	if (bytes.some((byte) => byte > 255)) return undefined;
	return bytes.reduce((value, byte) => value * 256 + byte, 0);
}

export function showAddress(value: number): string {
	return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join(".");
}

/** The range, its host bits cleared ("10.0.1.5/24" is 10.0.1.0/24), or undefined if the text is none. */
export function parseRange(text: string): Range | undefined {
	const [address = "", bits = "32", ...rest] = text.split("/");
	const value = parseAddress(address);
	const prefix = /^\d{1,2}$/.test(bits) ? Number(bits) : 33;
	if (value === undefined || prefix > 32 || rest.length > 0) return undefined;
	return { base: value - (value % size({ base: 0, prefix })), prefix };
}

export function showRange(range: Range): string {
	return `${showAddress(range.base)}/${range.prefix}`;
}

/** How many addresses the range holds, network and broadcast included. */
export function size(range: Range): number {
	return 2 ** (32 - range.prefix);
}

export function contains(range: Range, address: number): boolean {
	return address >= range.base && address < range.base + size(range);
}

export function overlaps(a: Range, b: Range): boolean {
	return a.base < b.base + size(b) && b.base < a.base + size(a);
}

/** The hardware address that goes with an IPv4 address: 02:42 and its four bytes, as Docker before 28 derives it. */
export function macOf(address: string): string {
	const value = parseAddress(address);
	if (value === undefined) throw new RangeError(`no IPv4 address: ${address}`);
	const bytes = [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
	return ["02", "42", ...bytes.map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}
