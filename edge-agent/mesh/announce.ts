// Tells the containers here that an address has another MAC than they may remember, by gratuitous ARP.
//
// Only addresses whose MAC we do not choose need it: containers that people attach to engines from 28 on, which give
// a new MAC at every start. Containers elsewhere hear nothing of it from the container itself, since the overlay floods
// nothing. No program that nodes surely have sends such a frame, so we ask the C library.

import { dlopen, FFIType, ptr } from "bun:ffi";
import { existsSync, readFileSync } from "node:fs";
import { parseAddress } from "../../model/cidr.ts";

export interface Announcement {
	readonly bridge: string;
	readonly address: string;
	readonly mac: string;
}

const packetFamily = 17; // AF_PACKET
const rawSocket = 3; // SOCK_RAW

/** Containers that remember the address learn its MAC; the others take no notice. */
export function announce(announcements: readonly Announcement[]): void {
	if (announcements.length === 0) return;
	const { symbols, close } = dlopen("libc.so.6", {
		socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
		sendto: {
			args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32, FFIType.ptr, FFIType.u32],
			returns: FFIType.i64,
		},
		close: { args: [FFIType.i32], returns: FFIType.i32 },
	});
	// Protocol 0: it sends, and receives nothing.
	const socket = symbols.socket(packetFamily, rawSocket, 0);
	if (socket < 0) throw new Error("no packet socket for ARP: the agent needs CAP_NET_RAW");
	try {
		for (const announcement of announcements) {
			const index = indexOf(announcement.bridge);
			if (index === undefined) continue;
			const to = linkAddress(index);
			const frame = arpFrame(announcement);
			symbols.sendto(socket, ptr(frame), frame.length, 0, ptr(to), to.length);
		}
	} finally {
		symbols.close(socket);
		close();
	}
}

/** An Ethernet broadcast from `mac`, asking for `address` in the name of `address`. */
export function arpFrame({ address, mac }: Pick<Announcement, "address" | "mac">): Uint8Array {
	const hardware = mac.split(":").map((byte) => Number.parseInt(byte, 16));
	const value = parseAddress(address) ?? 0;
	const internet = [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
	const everybody = [255, 255, 255, 255, 255, 255];
	const question = [
		0,
		1,
		8,
		0,
		6,
		4,
		0,
		1,
		...hardware,
		...internet,
		0,
		0,
		0,
		0,
		0,
		0,
		...internet,
	];
	return new Uint8Array([...everybody, ...hardware, 8, 6, ...question]);
}

/** A struct sockaddr_ll for ARP on the interface. */
function linkAddress(index: number): Uint8Array {
	const bytes = new Uint8Array(20);
	const view = new DataView(bytes.buffer);
	view.setUint16(0, packetFamily, true);
	view.setUint16(2, 0x0806, false);
	view.setInt32(4, index, true);
	return bytes;
}

/** Undefined when the interface has gone meanwhile. */
function indexOf(name: string): number | undefined {
	const path = `/sys/class/net/${name}/ifindex`;
	return existsSync(path) ? Number(readFileSync(path, "utf8")) : undefined;
}
