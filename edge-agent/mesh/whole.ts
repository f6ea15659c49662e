// Sends UDP packets whole or not at all, whatever the kernel believes of the path: only so can a path be measured.
//
// Node's sockets cannot be told so; we ask the C library.

import { dlopen, FFIType, ptr } from "bun:ffi";
import { parseAddress } from "../../model/cidr.ts";

export interface WholeSender {
	send(payload: Uint8Array, port: number, address: string): void;
	close(): void;
}

const internetFamily = 2; // AF_INET
const datagram = 2; // SOCK_DGRAM
const internetLevel = 0; // IPPROTO_IP
const mtuDiscover = 10; // IP_MTU_DISCOVER
const probe = 3; // IP_PMTUDISC_PROBE: "don't fragment" is set, and what is known of the path is not heeded
const dontWait = 0x40; // MSG_DONTWAIT

export function openWholeSender(): WholeSender {
	const { symbols, close } = dlopen("libc.so.6", {
		socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
		setsockopt: {
			args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr, FFIType.u32],
			returns: FFIType.i32,
		},
		sendto: {
			args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32, FFIType.ptr, FFIType.u32],
			returns: FFIType.i64,
		},
		close: { args: [FFIType.i32], returns: FFIType.i32 },
	});
	const socket = symbols.socket(internetFamily, datagram, 0);
	if (socket < 0) throw new Error("no UDP socket to measure paths with");
	const option = new Int32Array([probe]);
	if (symbols.setsockopt(socket, internetLevel, mtuDiscover, ptr(option), 4) !== 0) {
		throw new Error("the kernel does not send packets whole");
	}
	return {
		// What cannot be sent is not answered, which is all there is to know.
		send(payload, port, address) {
			const to = socketAddress(port, address);
			symbols.sendto(socket, ptr(payload), payload.length, dontWait, ptr(to), to.length);
		},
		close() {
			symbols.close(socket);
			close();
		},
	};
}

/** A struct sockaddr_in. */
function socketAddress(port: number, address: string): Uint8Array {
	const bytes = new Uint8Array(16);
	const view = new DataView(bytes.buffer);
	view.setUint16(0, internetFamily, true);
	view.setUint16(2, port, false);
	view.setUint32(4, parseAddress(address) ?? 0, false);
	return bytes;
}
