// Globs of branches, tags and paths, as people know them from their forge: `*` is anything but a slash, `**` anything,
// `**/` any folders or none, `?` one character but a slash. All else stands for itself, brackets too:
// `app/[id]/page.tsx` is a path that people have.
//
// Not a library's: those make regular expressions, which take for ever where a glob and a path are made for it
// (picomatch: 5 s for `*a*a*a*a*a*b` and a hundred letters), and both come from tenants. Here the time is that of the glob
// times that of the text, at the worst.

type Token = "one" | "some" | "any" | "folders" | { readonly char: string };

/** What is wrong with it, in words for whoever wrote it; null for a good one. */
export function globComplaint(glob: string): string | null {
	if (glob === "") return "is empty: leave it out";
	if (glob.length > 255) return "is longer than 255 characters";
	if (glob.startsWith("!")) return 'begins with "!": what is to be left out stands in "ignore"';
	if (/\{.*,.*\}/.test(glob)) return "has braces: write one glob for each of what stands in them";
	if (/^\.?\//.test(glob)) return 'begins with "/" or "./": branches, tags and paths do not';
	return null;
}

/** It stands for more than itself. */
export const isGlob = (text: string) => /[*?]/.test(text);

export function isMatch(glob: string, text: string): boolean {
	const tokens = tokensOf(glob);
	// Before which tokens we stand, having read so much of the text.
	let reached = new Uint8Array(tokens.length + 1);
	let next = new Uint8Array(tokens.length + 1);
	enter(tokens, reached, 0);
	for (const char of text) {
		next.fill(0);
		for (let at = 0; at < tokens.length; at++) if (reached[at]) step(tokens, next, at, char);
		[reached, next] = [next, reached];
	}
	return reached[tokens.length] === 1;
}

function tokensOf(glob: string): readonly Token[] {
	const parts = glob.matchAll(/(?<=^|\/)\*\*\/|\*{2,}|./gsu);
	return [...parts].map(([part]) => named[part] ?? (/^\*\*/.test(part) ? "any" : { char: part }));
}

const named: Readonly<Record<string, Token>> = { "**/": "folders", "*": "some", "?": "one" };

/** To stand before a token is to stand behind it too, where it may be nothing. */
function enter(tokens: readonly Token[], reached: Uint8Array, at: number): void {
	if (reached[at]) return;
	reached[at] = 1;
	const token = tokens[at];
	if (token === "some" || token === "any" || token === "folders") enter(tokens, reached, at + 1);
}

/** In the tokens' order: whoever enters one has done so before it is stayed in. */
function step(tokens: readonly Token[], next: Uint8Array, at: number, char: string): void {
	const token = tokens[at];
	if (token === undefined) return;
	if (token === "any") enter(tokens, next, at);
	else if (token === "some") {
		if (char !== "/") enter(tokens, next, at);
	} else if (token === "folders") {
		// Inside a folder's name; out of it only behind its slash.
		next[at] = 1;
		if (char === "/") enter(tokens, next, at + 1);
	} else if (token === "one" ? char !== "/" : char === token.char) enter(tokens, next, at + 1);
}
