// Identities. Every id is a branded string, so that a task's can never stand where a node's is wanted.
//
// Ids are Docker's: 25 characters of [0-9a-z]. Who makes them passes in a source of ids
// (`Moment.newId`); nothing here rolls dice.

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type ClusterId = Branded<"cluster">;
export type NodeId = Branded<"node">;
export type NetworkId = Branded<"network">;
export type ServiceId = Branded<"service">;
export type TaskId = Branded<"task">;
/** Of a secret or a config. */
export type MaterialId = Branded<"material">;
export type ApplicationId = Branded<"application">;
export type BuildId = Branded<"build">;
export type DeploymentId = Branded<"deployment">;
export type AnyId =
	| ClusterId
	| NodeId
	| NetworkId
	| ServiceId
	| TaskId
	| MaterialId
	| ApplicationId
	| BuildId
	| DeploymentId;

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";

/** An id from random bytes: at least 25 of them, one character each. The slight bias of `% 36` is harmless in a name. */
export function idFromBytes<Id extends AnyId>(bytes: Uint8Array): Id {
	let text = "";
	for (const byte of bytes.subarray(0, 25)) text += alphabet[byte % 36];
	return text as Id;
}
