// Bytes as base64 and back, by what every web runtime has. What is no base64 throws; whoever takes it from a person
// looks at it before (engine/convert/material.ts).

export function toBase64(bytes: Uint8Array): string {
	let text = "";
	// In parts: a call takes only so many arguments.
	for (let at = 0; at < bytes.length; at += 0x8000) {
		text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
	}
	return btoa(text);
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
	return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
