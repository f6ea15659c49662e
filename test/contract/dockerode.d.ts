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

	export interface Exec {
		start(options: object): Promise<NodeJS.ReadWriteStream>;
		inspect(): Promise<Json>;
	}

	export interface Container {
		inspect(): Promise<Json>;
		exec(options: object): Promise<Exec>;
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
		listContainers(options?: object): Promise<Json[]>;
		getContainer(id: string): Container;
		listNetworks(options?: object): Promise<Json[]>;
		getEvents(options?: object): Promise<NodeJS.ReadableStream & { destroy(): void }>;
	}

	export = Docker;
}
