// What Go's decoder says of text that is no JSON: the first character that can not stand where it stands, or that the
// text ends too soon. Only its words are wanted; whether text is JSON is the runtime's to say.

type Place = "value" | "key" | "colon" | "comma";

/** A string (unended ones are another matter), a number or a word. Control characters may not stand in strings. */
const scalar =
	/"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/uy;

export function syntaxComplaint(text: string): string {
	const end = text.trimEnd();
	if (end === "") return "unexpected end of JSON input";
	/** The brackets that are still to be closed, innermost last. */
	const open: string[] = [];
	let place: Place | "end" = "value";
	/** A bracket was just opened, so it may be closed at once. */
	let fresh = false;
	for (let at = 0; at < end.length; at++) {
		const char = end[at] ?? "";
		if (/\s/.test(char)) continue;
		if (place === "end") return invalidCharacter(char, "after top-level value");
		const closes = char === open.at(-1) && (fresh || place === "comma");
		if (closes) {
			open.pop();
			fresh = false;
			place = open.length > 0 ? "comma" : "end";
			continue;
		}
		fresh = false;
		if (place === "colon" || place === "comma") {
			const inObject = open.at(-1) === "}";
			if (char !== (place === "colon" ? ":" : ",")) {
				return invalidCharacter(char, afterWhat(place, inObject));
			}
			place = place === "comma" && inObject ? "key" : "value";
			continue;
		}
		if (place === "value" && (char === "{" || char === "[")) {
			open.push(char === "{" ? "}" : "]");
			place = char === "{" ? "key" : "value";
			fresh = true;
			continue;
		}
		if (place === "key" && char !== '"') {
			return invalidCharacter(char, "looking for beginning of object key string");
		}
		scalar.lastIndex = at;
		const found = scalar.exec(end)?.[0];
		if (found === undefined) {
			return char === '"'
				? "unexpected EOF"
				: invalidCharacter(char, "looking for beginning of value");
		}
		at += found.length - 1;
		if (place === "key") place = "colon";
		else place = open.length > 0 ? "comma" : "end";
	}
	return "unexpected EOF";
}

function afterWhat(place: "colon" | "comma", inObject: boolean): string {
	if (place === "colon") return "after object key";
	return inObject ? "after object key:value pair" : "after array element";
}

function invalidCharacter(char: string, where: string): string {
	return `invalid character ${char === "'" ? "'\\''" : `'${char}'`} ${where}`;
}
