// A repository without a forge: what `hook.sh`, or anything that can sign a body, says of a push.
//
// The body is text. Each ref that was pushed is a line as Git gives it to a post-receive hook, and lines after it may
// tell more of it:
//
//     delivery 1764302400-4711        so that no two bodies are the same
//     OLD NEW refs/heads/main
//     forced                          the ref no longer leads to what it led to
//     author Jane Doe <jane@example.com>
//     message Fix the door            of the newest commit; a line for each of its lines
//     path web/door.html              a line for each path that differs
//     whole                           the paths are all of them
//
// `ping` alone tries whether we are there.

import { invalid } from "../../model/errors.ts";
import type { GitEvent, Push } from "../../model/git.ts";
import type { Forge } from "./forge.ts";
import { revision } from "./payload.ts";
import { isHexHmac } from "./signature.ts";

export const generic: Forge = {
	name: "the post-receive hook",
	recognizes: (headers) => headers.has("X-Skein-Signature-256"),
	verify: (secret, { headers, body }) =>
		isHexHmac(secret, body, /^sha256=(.*)$/.exec(headers.get("X-Skein-Signature-256") ?? "")?.[1]),
	id: (headers) => headers.get("X-Skein-Delivery") ?? "",
	events: ({ body }) => eventsOf(new TextDecoder().decode(body)),
};

/** A push while its lines are read. */
type Draft = { -readonly [Field in keyof Push]: Push[Field] } & {
	lines: string[];
	touched: string[];
	isWhole: boolean;
};

function eventsOf(text: string): readonly GitEvent[] {
	const drafts: Draft[] = [];
	const events: GitEvent[] = [];
	text.split("\n").forEach((line, at) => {
		const [, word = "", rest = ""] = /^(\S*) ?(.*)$/.exec(line) ?? [];
		const update = /^([0-9a-f]+) ([0-9a-f]+) (refs\/\S+)$/.exec(line);
		const draft = drafts.at(-1);
		if (line === "" || word === "delivery") return;
		if (line === "ping") events.push({ kind: "ping" });
		else if (update) drafts.push(draftOf(at + 1, update));
		else if (!draft || !tell(draft, word, rest)) throw notUnderstood(at + 1, line);
	});
	return [...events, ...drafts.map(pushOf)];
}

function draftOf(line: number, [, old = "", now = "", ref = ""]: readonly string[]): Draft {
	const [before, commit] = [revision.safeParse(old), revision.safeParse(now)];
	if (!before.success || !commit.success) throw notUnderstood(line, `${old} ${now} ${ref}`);
	return {
		kind: "push",
		ref,
		before: before.data,
		commit: commit.data,
		forced: false,
		message: "",
		author: "",
		isBot: false,
		paths: null,
		lines: [],
		touched: [],
		isWhole: false,
	};
}

/** False for a word that is none. */
function tell(draft: Draft, word: string, rest: string): boolean {
	if (word === "forced") draft.forced = true;
	else if (word === "whole") draft.isWhole = true;
	else if (word === "author") draft.author = rest;
	else if (word === "message") draft.lines.push(rest);
	else if (word === "path") draft.touched.push(rest);
	else return false;
	return true;
}

function pushOf({ lines, touched, isWhole, ...push }: Draft): Push {
	// Git quotes a name with a line break or a quote in it; what is not read is not known.
	const isKnown = isWhole && !touched.some((path) => path.startsWith('"'));
	return { ...push, message: lines.join("\n"), paths: isKnown ? touched : null };
}

const notUnderstood = (line: number, text: string) =>
	invalid(
		`line ${line} of the body, ${JSON.stringify(text.slice(0, 80))}, is neither "OLD NEW REF" as Git gives it to a post-receive hook ` +
			'nor one of "delivery", "forced", "author", "message", "path", "whole" and "ping"',
	);
