// Whether a task runs what its service asks for now.

import type { Service } from "../../../model/service.ts";
import type { Task } from "../../../model/task.ts";

export function isDirty({ templateVersion }: Service, task: Task): boolean {
	return task.templateVersion !== templateVersion;
}
