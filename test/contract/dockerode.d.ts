// dockerode brings no types of its own; the tests use these few of its calls.

declare module "dockerode" {
	// biome-ignore lint/suspicious/noExplicitAny: answers are looked into as its users do
	type Json = any;

	export interface Service {
		readonly id: string;
		inspect(): Promise<Json>;
		update(spec: object): Promise<Json>;
		remove(): Promise<void>;
	}

	class Docker {
		constructor(options: { readonly socketPath: string });
		version(): Promise<Json>;
		info(): Promise<Json>;
		createNetwork(spec: object): Promise<{ readonly id: string; remove(): Promise<void> }>;
		createService(spec: object): Promise<Service>;
		getService(id: string): Service;
		listServices(options?: object): Promise<Json[]>;
		listTasks(options?: object): Promise<Json[]>;
		listNodes(): Promise<Json[]>;
		listNetworks(options?: object): Promise<Json[]>;
		getEvents(options?: object): Promise<NodeJS.ReadableStream & { destroy(): void }>;
	}

	export = Docker;
}
