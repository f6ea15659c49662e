// A task that asks for nothing special, for tests to change.

import type { TaskAssignment } from "../../model/assignment.ts";
import type { ServiceId, TaskId } from "../../model/id.ts";
import type { ContainerSpec, TaskTemplate } from "../../model/service.ts";
import { plainTemplate } from "../../model/template.test-data.ts";

const plain = plainTemplate("lab/busybox:1");

export function templateOf(
	changes: Partial<Omit<TaskTemplate, "container">> & {
		readonly container?: Partial<ContainerSpec>;
	} = {},
): TaskTemplate {
	return {
		...plain,
		...changes,
		container: { ...plain.container, ...changes.container },
	};
}

export function taskOf(
	changes: Partial<Omit<TaskAssignment, "template">> & {
		readonly container?: Partial<ContainerSpec>;
		readonly template?: Parameters<typeof templateOf>[0];
	} = {},
): TaskAssignment {
	const { container: spec, template, ...rest } = changes;
	return {
		id: "task1" as TaskId,
		name: "web.1.task1",
		service: { id: "service1" as ServiceId, name: "web", labels: { tier: "front" } },
		slot: 1,
		generation: 1,
		desired: "running",
		attachments: [],
		hostPorts: [],
		...rest,
		template: templateOf({ ...template, ...(spec && { container: spec }) }),
	};
}
