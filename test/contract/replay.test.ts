// What dockerd answered, and what we answer to the same requests in the same order, field by field.
//
// Where we mean to differ, the lists below say so and why; an entry that nothing differs by any more fails too.

import { afterAll, describe, expect, test } from "bun:test";
import { type Door, openDoor } from "./door.ts";
import { differences, Rosetta, recorded, type Scenario } from "./replay.ts";

/** Asked of the machine and not of the cluster, or answered in the course of time: their own tests are elsewhere. */
const leftOut =
	/\/(distribution|containers|images|volumes|system|plugins|auth|events|info|version|tasks|_ping)\b|\/logs/;

interface Difference {
	/** `file: label: METHOD /path` */
	readonly where: RegExp;
	/** `.path: theirs → ours`, or `status: …` */
	readonly what: RegExp;
	readonly why: string;
}

const deliberate: readonly Difference[] = [
	{
		where: /GET \S*\/services/,
		what: /^(\[\d+\])?\.Endpoint\b/,
		why: "addresses and ports are there with the service's own commit, not some time later, and backends are listed",
	},
	{
		where: /GET \S*\/services/,
		what: /^(\[\d+\])?\.(UpdateStatus|ServiceStatus)\b/,
		why: "how far an update got is a matter of moments",
	},
	{
		where: /create|update/,
		what: /^\.Warnings: (absent|null)/,
		why: "fields that have no effect are named instead of taken in silence",
	},
	{
		where: /\/networks/,
		what: /\.(Containers|Peers|Services)\b/,
		why: "shown of the whole cluster, not of the machine that was asked",
	},
	{
		where: /\/networks/,
		what: /\.(EnableIPv4: absent|IPAM\.Options: null|(Options|Labels): null)/,
		why: "newer engines say what older ones left out, and say empty for null",
	},
	{
		where: /\/networks/,
		what: /\.IPAM\.Config\[0\]|vxlanid_list/,
		why: "a subnet and a number of our own choosing; every node has a gateway of its own",
	},
	{
		where: /networks|network ls/,
		what: /^\[\d+\]/,
		why: "the recorded machine has networks of its own as well",
	},
	{
		where: /\/nodes/,
		what: /\.(Description|ManagerStatus|ID|Status\.Addr|Spec\.(Labels|Availability))\b|^\[1\]/,
		why: "other machines, and no manager among them",
	},
	{
		where: /POST \S*\/services\/create/,
		what: /^\.Warnings: absent → \["unknown/,
		why: "a field that nobody knows is named",
	},
	{
		where: /GET \S*\/services/,
		what: /\.(Bogus|Zork):/,
		why: "and comes back, as the fields of newer clients must",
	},
	{
		where: /service-read: service ls:/,
		what: /^\[\d+\]: absent → /,
		why: "of the services created in one recording some came later than this reading",
	},
	{
		where: /raw/,
		what: /\.Name: "hungry_hugle" → /,
		why: "names are drawn from other words",
	},
	{ where: /too (old|new)/, what: /./, why: "we speak newer versions, and refuse in JSON" },
	{ where: /swarm/, what: /\.TLSInfo\b/, why: "there is no certificate authority to show" },
	{
		where: /swarm/,
		what: /\.(DefaultAddrPool|DataPathPort|JoinTokens)/,
		why: "redacted tokens, another port for VXLAN",
	},
	{
		where: /swarm init again|already/,
		what: /^\.message/,
		why: "the same sentence, and what to run instead",
	},
	{ where: /autolock|unlock|cert|swarm ca/, what: /./, why: "there is no manager to lock" },
	{
		where: /node (demote|update role) last/,
		what: /^status/,
		why: "the control plane manages, whatever the nodes' roles",
	},
	{
		where: /insertDefaults=true/,
		what: /\.EndpointSpec: absent/,
		why: "the default of every other part is filled in, and some clients wait for this one",
	},
	{
		where: /network create overlay/,
		what: /\.Warning: ""/,
		why: "a gateway that is not used is said to be unused",
	},
	{
		where: /secret create --driver/,
		what: /^\.message/,
		why: "the same sentence, and what to leave out",
	},
	{
		where: /stack/,
		what: /\.Privileges\.(CredentialSpec: null → absent|SELinuxContext: null → absent|NoNewPrivileges: absent → false)/,
		why: "null is absent, and what a client says stays said",
	},
	{
		where: /stack|service update --secret-rm/,
		what: /\.PreviousSpec(: .* → absent|\.Mode|\.Labels|\.TaskTemplate\.(ContainerSpec|Networks)\b)/,
		why: "an update that changes nothing leaves alone what a rollback returns to",
	},
	{
		where: /stack deploy changed config content: POST \S*\/configs/,
		what: /^status: 400 → 200/,
		why: "a changed content is a new version, and rolls",
	},
	{
		where: /stack deploy --resolve-image never: GET \S*\/configs\/app_page/,
		what: /\.Spec\.Data/,
		why: "and is there afterwards",
	},
	{
		where: /node rm not down/,
		what: /^\.message/,
		why: "the same sentence, and the remedy",
	},
];

const met = new Set<Difference>();

/** Things that a recording presupposes. */
interface Opening {
	readonly file: string;
	readonly init?: boolean;
	/** The machines do what they are told: who removes a network waits for its tasks. */
	readonly busy?: boolean;
	/** Of other requests the recording's own past is needed. */
	readonly only?: RegExp;
	readonly skip?: RegExp;
	/** What was said before the recording: a scenario of a file, or with no label all of it. */
	readonly before?: readonly { readonly file: string; readonly label: string }[];
}

const ov1 = { file: "network", label: "network create overlay" };

const secrets = ["secret create", "config create", "config create templated"].map((label) => ({
	file: "secret-config",
	label,
}));

const openings: readonly Opening[] = [
	{ file: "swarm", init: false },
	{ file: "network", skip: /in use|verbose stack/ },
	{
		file: "node",
		only: /\/nodes/,
		skip: /self|node ps|after leave|rm down|rm --force|update role last|ls down/,
	},
	// Who uses them is of a later recording.
	{ file: "secret-config", skip: /in use/ },
	{ file: "service-create", before: [ov1, ...secrets] },
	{
		file: "service-update",
		skip: /failing image/,
		before: [ov1, ...secrets, { file: "service-create", label: "" }],
	},
	{
		file: "service-read",
		only: /\/services/,
		// Read after updates that are of a later recording.
		skip: /stack|web|auto port|big update|drained|inspect (task|service)$/,
		before: [ov1, ...secrets, { file: "service-create", label: "" }],
	},
	// The update itself is not in the recording.
	{ file: "system-events", skip: /info|version|volume|system|events: (update|scale)/ },
	{ file: "stack", busy: true },
	{
		file: "raw-http",
		skip: /ambiguous/,
		before: [ov1, ...secrets, { file: "swarm", label: "swarm update" }],
	},
];

for (const opening of openings) {
	describe(opening.file, async () => {
		const conversation = await begin(opening);
		afterAll(() => conversation.door.close());
		for (const scenario of await recorded(opening.file)) {
			if (opening.skip?.test(scenario.label)) continue;
			const asked = scenario.x.filter(
				({ u }) => !leftOut.test(u) && (opening.only?.test(u) ?? true),
			);
			if (asked.length === 0) continue;
			test(scenario.label, async () => {
				const found = await replay(conversation, opening.file, { ...scenario, x: asked });
				expect(found).toEqual([]);
			});
		}
		test("nothing of it was a fault of ours", () => expect(conversation.door.faults).toEqual([]));
	});
}

test.each(deliberate.map((each) => [each.why, each] as const))("still differs: %s", (_why, each) =>
	expect(met.has(each)).toBeTrue(),
);

interface Conversation {
	readonly door: Door;
	readonly rosetta: Rosetta;
}

async function begin({ init = true, busy = false, before = [] }: Opening): Promise<Conversation> {
	const door = await openDoor({ init });
	if (init) {
		await door.agents.join("node1", {}, "manager");
		await door.agents.join("node2");
	}
	if (busy) void door.agents.run();
	const conversation = { door, rosetta: new Rosetta() };
	for (const { file, label } of before) {
		for (const scenario of await recorded(file)) {
			if (label === "" || scenario.label === label) await replay(conversation, file, scenario);
		}
	}
	return conversation;
}

async function replay(
	{ door, rosetta }: Conversation,
	file: string,
	{ label, x }: Scenario,
): Promise<string[]> {
	const left: string[] = [];
	for (const exchange of x) {
		if (leftOut.test(exchange.u)) continue;
		const answer = await door.ask(
			exchange.m,
			rosetta.url(exchange.u),
			exchange.q === undefined ? undefined : rosetta.translate(exchange.q),
		);
		const theirs = exchange.r ?? "";
		rosetta.learn(theirs, answer.body);
		const all =
			answer.status === exchange.s
				? differences(rosetta.translate(theirs), answer.body)
				: [`status: ${exchange.s} → ${answer.status} ${JSON.stringify(answer.body)}`];
		const where = `${file}: ${label}: ${exchange.m} ${exchange.u}`;
		for (const what of all) {
			const known = deliberate.filter((each) => each.where.test(where) && each.what.test(what));
			for (const each of known) met.add(each);
			if (known.length === 0) left.push(`${exchange.m} ${exchange.u} ${what}`);
		}
	}
	return left;
}
