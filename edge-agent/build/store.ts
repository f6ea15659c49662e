// The image that was built, put where nodes get it from: this agent's own registry, or one outside.
//
// By the engine, which sends only layers that are not there yet.

import type { BuildSecrets, BuildStatus } from "../../model/build.ts";
import { loginFor, type ManifestForm, manifestTypes, ownImage } from "../../model/image.ts";
import { type Docker, DockerError, lines, registryAuth } from "../host/docker.ts";
import { BuildFailure, pushRemedy } from "./failure.ts";

/** The registry of this agent. */
export interface OwnRegistry {
	readonly registryAuth: string;
	sizeOf(digest: string): Promise<number>;
	/** Of an image that is here. */
	formOf(
		digest: string,
	): Promise<{ readonly mediaType: string; readonly size: number } | undefined>;
}

export interface Storing {
	readonly own: OwnRegistry;
	readonly registries: BuildSecrets["registries"];
	readonly signal: AbortSignal;
	line(text: string): void;
}

/** Throws `BuildFailure`. */
export async function storeImage(
	docker: Docker,
	image: string,
	{ own, registries, signal, line }: Storing,
): Promise<Pick<BuildStatus, "digest" | "bytes">> {
	const ours = ownImage(image);
	if (!ours) {
		const login = loginFor(registries, image);
		const auth = registryAuth(login ?? { username: "", password: "" });
		const digest = await push(docker, image, auth, signal, line).catch((error: unknown) => {
			if (!(error instanceof BuildFailure)) throw error;
			// The last of the log, and so of the deployment's lines.
			line(error.message);
			const remedy = pushRemedy(image, login !== undefined, error.message);
			throw new BuildFailure(`${error.message}${remedy}`, { cause: error });
		});
		line(`pushed as ${image}@${digest}`);
		// What the layers take is the registry's to know.
		return { digest, bytes: 0 };
	}
	const { repository, tag, source } = ours;
	const name = `${source}:${tag}`;
	await docker.request("POST", `/images/${image}/tag?repo=${source}&tag=${tag}`);
	try {
		const digest = await push(docker, name, own.registryAuth, signal, line);
		line(`stored as ${repository}@${digest}`);
		return { digest, bytes: await own.sizeOf(digest) };
	} finally {
		await docker.request("DELETE", `/images/${name}`).catch(() => undefined);
	}
}

/** What an index says of it. Throws `BuildFailure` where none could name it. */
export async function manifestOf(own: OwnRegistry, digest: string): Promise<ManifestForm> {
	const form = await own.formOf(digest);
	const mediaType = manifestTypes.find((type) => type === form?.mediaType);
	if (form && mediaType) return { mediaType, size: form.size };
	throw new BuildFailure(
		`the engine stored a ${form?.mediaType ?? "manifest that is gone"}, which is no image for one architecture`,
	);
}

interface Progress {
	readonly id?: string;
	readonly status?: string;
	readonly error?: string;
	readonly aux?: { readonly Digest?: string };
}

async function push(
	docker: Docker,
	image: string,
	auth: string,
	signal: AbortSignal,
	line: Storing["line"],
): Promise<string> {
	const colon = image.lastIndexOf(":");
	const [name, tag] = [image.slice(0, colon), image.slice(colon + 1)];
	let digest = "";
	try {
		const path = `/images/${name}/push?tag=${encodeURIComponent(tag)}`;
		const progress = await docker.stream("POST", path, signal, { "X-Registry-Auth": auth });
		for await (const text of lines(progress)) {
			const { id, status = "", error, aux } = JSON.parse(text) as Progress;
			if (error) throw new BuildFailure(`pushing ${image}: ${error}`);
			if (/^(Pushed|Layer already exists|Mounted from)/.test(status)) line(`${id}: ${status}`);
			digest = aux?.Digest ?? digest;
		}
	} catch (error) {
		if (!(error instanceof DockerError)) throw error;
		throw new BuildFailure(`pushing ${image}: ${error.message}`, { cause: error });
	}
	if (digest === "") throw new BuildFailure(`pushing ${image}: the engine names no digest`);
	return digest;
}
