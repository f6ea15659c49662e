// When a job is due, by the labels of its service: parsed, and asked for the next time.
//
// Pure: knows no clock. What becomes of a due time is the planner's to say (orchestrator/schedule.ts).

import { Cron } from "croner";
import { invalid, messageOf } from "./errors.ts";

export interface Schedule {
	/** Cron: five fields, six with seconds first, `@daily` and its like, or one moment of ISO 8601. */
	readonly pattern: string;
	/** IANA: `Europe/Berlin`. */
	readonly timezone: string;
	/** When a run is due and the one before still runs. */
	readonly overlap: "skip" | "replace";
	/** What becomes of due times at which nobody could plan. `latest`: they are made up for by one run. */
	readonly catchup: "none" | "latest";
}

export const scheduleLabel = "skein.schedule";
const timezoneLabel = `${scheduleLabel}.timezone`;
const overlapLabel = `${scheduleLabel}.overlap`;
const catchupLabel = `${scheduleLabel}.catchup`;
const known: readonly string[] = [scheduleLabel, timezoneLabel, overlapLabel, catchupLabel];

type Labels = Readonly<Record<string, string>>;

/** Null where the labels say nothing of a schedule. Throws a refusal that names the label and the remedy. */
export function scheduleOf(labels: Labels): Schedule | null {
	const said = Object.keys(labels).filter(isAboutSchedules);
	if (said.length === 0) return null;
	const strange = said.find((label) => !known.includes(label));
	if (strange) throw invalid(`label ${strange} means nothing: there are ${known.join(", ")}`);
	const pattern = labels[scheduleLabel];
	if (pattern === undefined) {
		throw invalid(`label ${said[0]} needs label ${scheduleLabel}: ${example}`);
	}
	return {
		pattern,
		timezone: labels[timezoneLabel] ?? "UTC",
		overlap: oneOf(labels, overlapLabel, ["skip", "replace"]),
		catchup: oneOf(labels, catchupLabel, ["none", "latest"]),
	};
}

export function isAboutSchedules(label: string): boolean {
	return label === scheduleLabel || label.startsWith(`${scheduleLabel}.`);
}

/** The schedule, if it can be kept and comes due at all. Throws a refusal that names the label and the remedy. */
export function checkSchedule(labels: Labels, nowMs: number): Schedule | null {
	const schedule = scheduleOf(labels);
	if (!schedule) return null;
	try {
		new Intl.DateTimeFormat("en", { timeZone: schedule.timezone });
	} catch (error) {
		throw invalid(
			`label ${timezoneLabel}: ${JSON.stringify(schedule.timezone)} is no time zone: give an IANA name, like Europe/Berlin`,
			{ cause: error },
		);
	}
	const nextMs = tryNextDue(schedule, nowMs);
	if (nextMs !== null) return schedule;
	throw invalid(
		`label ${scheduleLabel}: ${JSON.stringify(schedule.pattern)} never comes due: ${example}`,
	);
}

function tryNextDue(schedule: Schedule, nowMs: number): number | null {
	try {
		return nextDueMs(schedule, nowMs);
	} catch (error) {
		throw invalid(
			`label ${scheduleLabel}: ${JSON.stringify(schedule.pattern)} is no schedule (${messageOf(error)}): ${example}`,
			{ cause: error },
		);
	}
}

/**
 * The first due time after that moment; null when there is none any more. Where clocks are put forward, a time that is
 * left out is due at the end of the gap; where they are put back, one that comes twice is due the first time.
 */
export function nextDueMs({ pattern, timezone }: Schedule, afterMs: number): number | null {
	const cron = new Cron(pattern, { timezone });
	return cron.nextRun(new Date(afterMs))?.getTime() ?? null;
}

const example = 'give five fields, like "30 4 * * *", or @hourly, @daily, @weekly, @monthly';

function oneOf<Word extends string>(
	labels: Labels,
	label: string,
	words: readonly [Word, ...Word[]],
): Word {
	const text = labels[label] ?? words[0];
	const found = words.find((word) => word === text);
	if (found !== undefined) return found;
	throw invalid(`label ${label}: ${JSON.stringify(text)} is not one of ${words.join(", ")}`);
}
