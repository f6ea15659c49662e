// Who asks, on the way from the worker to a cluster's object: what the worker found in the directory is not looked up twice.
//
// It goes in a header. Nobody but the worker reaches an object, and the worker puts its own word, or none, in the place of
// whatever came from outside: so what stands there is the worker's.

import type { Admitted } from "../world.ts";

const header = "Skein-Admitted";

export function withAdmitted(request: Request, admitted: Admitted | undefined): Request {
	const headers = new Headers(request.headers);
	headers.delete(header);
	// People's names may have any letters, headers only some.
	if (admitted) headers.set(header, encodeURIComponent(JSON.stringify(admitted)));
	return new Request(request, { headers });
}

export function admittedOf({ headers }: { readonly headers: Headers }): Admitted | undefined {
	const text = headers.get(header);
	return text === null ? undefined : (JSON.parse(decodeURIComponent(text)) as Admitted);
}
