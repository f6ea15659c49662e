// The service that an environment is, and the job that runs before it, made of the user's words and the new image.

import type { Application, Environment } from "../../model/application.ts";
import type { Change, Moment } from "../../model/change.ts";
import type { Deployment } from "../../model/deployment.ts";
import { invalid } from "../../model/errors.ts";
import type { ServiceId } from "../../model/id.ts";
import { imageHost } from "../../model/image.ts";
import type { Document, Service, ServiceSpec } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { deployedDocument, jobDocument } from "../engine/convert/deployed.ts";
import type { ServiceDocument } from "../engine/convert/document.ts";
import { fromEngine } from "../engine/convert/service.ts";
import { around, createService, putSpec } from "../engine/services.ts";
import { same } from "../manager/same.ts";

export interface Made {
	/** The service that is there. */
	readonly known: Service | undefined;
	readonly id: ServiceId;
	readonly spec: ServiceSpec;
	readonly document: Document;
}

/** Throws a `Refusal` where the words are none. */
export function makeService(
	snapshot: Snapshot,
	moment: Moment,
	application: Application,
	environment: Environment,
	deployment: Deployment,
): Made {
	const known = serviceOf(snapshot, environment);
	const id = known?.id ?? (moment.newId() as ServiceId);
	if (deployment.made) {
		const { spec, document } = deployment.made;
		return { known, id, spec: withLogin(spec, known, application), document };
	}
	const document = documentOf(known, application, environment, deployment.image);
	return { known, id, ...read(document, id, snapshot, moment, { known, application }) };
}

const serviceOf = ({ services }: Snapshot, { service }: Environment) =>
	[...services.values()].find(({ spec, removing }) => spec.name === service && !removing);

function documentOf(
	known: Service | undefined,
	application: Application,
	environment: Environment,
	image: string,
): ServiceDocument {
	const base = (known?.document ?? environment.create) as ServiceDocument | null;
	if (!base) {
		throw invalid(
			`there is no service ${environment.service}: make it (docker service create), or say in the environment how it is to be made (create)`,
		);
	}
	const { service: name, variables } = environment;
	return deployedDocument(base, {
		name,
		image,
		variables,
		labels: labelsOf(application, environment),
	});
}

/** So that `docker service ls --filter` finds them. */
export const labelsOf = ({ spec }: Application, { name }: Environment) => ({
	"skein.application": spec.name,
	"skein.environment": name,
});

function read(
	document: ServiceDocument,
	id: ServiceId,
	snapshot: Snapshot,
	moment: Moment,
	of: { readonly known: Service | undefined; readonly application: Application },
): { readonly spec: ServiceSpec; readonly document: Document } {
	const made = fromEngine({ value: document, unknown: [] }, around(snapshot, id, moment));
	return { spec: withLogin(made.spec, of.known, of.application), document: made.document };
}

/** The application's, and the service's own where that has none; what was built here is in no registry. */
export function withLogin(
	spec: ServiceSpec,
	known: Service | undefined,
	{ id: loginOf }: Application,
): ServiceSpec {
	if (spec.template.container.image.startsWith(`${imageHost}/`)) return spec;
	const login = known?.spec.registryAuth;
	return { ...spec, loginOf, ...(login !== undefined && { registryAuth: login }) };
}

/** What stands still half-way is not what it says. */
export function isUnchanged(
	known: Service,
	{ spec, document }: Pick<Service, "spec" | "document">,
): boolean {
	const { state } = known.updateStatus ?? {};
	const isWhole = state === undefined || state === "completed" || state === "rollback_completed";
	return isWhole && same(known.spec, spec) && same(known.document, document);
}

export function changeService(
	snapshot: Snapshot,
	moment: Moment,
	{ known, id, spec, document }: Made,
): { readonly changes: readonly Change[]; readonly service: Service } {
	const { changes } = known
		? putSpec(known, { spec, document }, null, snapshot, moment)
		: createService(id, { spec, document, warnings: [] }, snapshot, moment);
	const put = changes.find((change) => change.kind === "put-service");
	if (!put) throw new Error("a service that is changed is put");
	return { changes, service: put.service };
}

/** One container of the new image, with all that the service's have but its ports, run to its end. */
export function makeJob(
	snapshot: Snapshot,
	moment: Moment,
	application: Application,
	environment: Environment,
	deployment: Deployment,
): { readonly id: ServiceId; readonly changes: readonly Change[] } {
	const { document: service } = makeService(snapshot, moment, application, environment, deployment);
	const id = moment.newId() as ServiceId;
	const document = jobDocument(service as ServiceDocument, {
		name: `${environment.service}-before-${deployment.number}`,
		labels: labelsOf(application, environment),
		command: environment.before,
	});
	const made = read(document, id, snapshot, moment, { known: undefined, application });
	const { changes } = createService(id, { ...made, warnings: [] }, snapshot, moment);
	return { id, changes };
}
