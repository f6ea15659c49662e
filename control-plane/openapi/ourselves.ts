// Described: what the control plane says of itself.

import { z } from "zod";
import type { Group } from "./describe.ts";

const ready = z.object({
	status: z.enum(["ok", "not ready"]),
	checks: z.record(z.string(), z.string()).describe("what is wrong, part by part"),
});

export const ourselves: Group = {
	name: "The control plane",
	about: "Whether it lives and works, and this document. `GET /metrics` is for Prometheus.",
	routes: {
		"GET /api/health": {
			does: "Whether it lives",
			answers: { 200: z.object({ status: z.literal("ok"), version: z.string() }) },
		},
		"GET /api/ready": {
			does: "Whether it can do its work",
			answers: { 200: ready, 503: ready },
		},
		"GET /api/openapi.json": {
			does: "This document, OpenAPI 3.1",
			answers: { 200: z.looseObject({ openapi: z.string() }) },
		},
		"GET /api/docs": { does: "This document as a page", answers: { 200: { media: "text/html" } } },
	},
};
