// Docker's service spec as it comes over the wire: every field that Docker has, none of them required.
//
// Kept as it came, so that clients which read, change and send back the whole spec find all of it again. What its
// fields mean to us is convert/service.ts.

import { z } from "zod";

const text = z.string();
const texts = z.array(text);
const map = z.record(text, text);
const flag = z.boolean();
const count = z.int().nonnegative();
/** Signed in Docker, so that our own refusal can say what is wrong with a negative one. */
const integer = z.int();
const object = <Shape extends z.ZodRawShape>(shape: Shape) => z.looseObject(shape).partial();

const driver = object({ Name: text, Options: map });

const file = object({ Name: text, UID: text, GID: text, Mode: count });

const mount = object({
	Type: text,
	Source: text,
	Target: text,
	ReadOnly: flag,
	Consistency: text,
	BindOptions: object({
		Propagation: text,
		NonRecursive: flag,
		CreateMountpoint: flag,
		ReadOnlyNonRecursive: flag,
		ReadOnlyForceRecursive: flag,
	}),
	VolumeOptions: object({ NoCopy: flag, Labels: map, DriverConfig: driver, Subpath: text }),
	ImageOptions: object({ Subpath: text }),
	TmpfsOptions: object({ SizeBytes: integer, Mode: count, Options: z.array(texts) }),
	ClusterOptions: object({}),
});

const healthcheck = object({
	Test: texts,
	Interval: integer,
	Timeout: integer,
	StartPeriod: integer,
	StartInterval: integer,
	Retries: integer,
});

const container = object({
	Image: text,
	Labels: map,
	Command: texts,
	Args: texts,
	Hostname: text,
	Env: texts,
	Dir: text,
	User: text,
	Groups: texts,
	Privileges: object({
		CredentialSpec: object({ Config: text, File: text, Registry: text }),
		SELinuxContext: object({ Disable: flag, User: text, Role: text, Type: text, Level: text }),
		Seccomp: object({ Mode: text, Profile: text }),
		AppArmor: object({ Mode: text }),
		NoNewPrivileges: flag,
	}),
	Init: flag,
	StopSignal: text,
	TTY: flag,
	OpenStdin: flag,
	ReadOnly: flag,
	Mounts: z.array(mount),
	StopGracePeriod: integer,
	Healthcheck: healthcheck,
	Hosts: texts,
	DNSConfig: object({ Nameservers: texts, Search: texts, Options: texts }),
	Secrets: z.array(object({ File: file, SecretID: text, SecretName: text })),
	Configs: z.array(object({ File: file, Runtime: object({}), ConfigID: text, ConfigName: text })),
	Isolation: text,
	Sysctls: map,
	CapabilityAdd: texts,
	CapabilityDrop: texts,
	Ulimits: z.array(object({ Name: text, Hard: integer, Soft: integer })),
	OomScoreAdj: integer,
});

const resources = object({
	NanoCPUs: integer,
	MemoryBytes: integer,
	Pids: integer,
	GenericResources: z.array(
		object({
			NamedResourceSpec: object({ Kind: text, Value: text }),
			DiscreteResourceSpec: object({ Kind: text, Value: integer }),
		}),
	),
});

const networks = z.array(object({ Target: text, Aliases: texts, DriverOpts: map }));

const template = object({
	PluginSpec: object({}),
	ContainerSpec: container,
	NetworkAttachmentSpec: object({ ContainerID: text }),
	Resources: object({ Limits: resources, Reservations: resources }),
	RestartPolicy: object({ Condition: text, Delay: integer, MaxAttempts: count, Window: integer }),
	Placement: object({
		Constraints: texts,
		Preferences: z.array(object({ Spread: object({ SpreadDescriptor: text }) })),
		MaxReplicas: count,
		Platforms: z.array(object({ Architecture: text, OS: text })),
	}),
	Networks: networks,
	LogDriver: driver,
	ForceUpdate: count,
	Runtime: text,
});

const update = object({
	Parallelism: count,
	Delay: integer,
	FailureAction: text,
	Monitor: integer,
	MaxFailureRatio: z.number(),
	Order: text,
});

const port = object({
	Name: text,
	Protocol: text,
	TargetPort: count,
	PublishedPort: count,
	PublishMode: text,
});

export const serviceSchema = object({
	Name: text,
	Labels: map,
	TaskTemplate: template,
	Mode: object({
		Replicated: object({ Replicas: count }),
		Global: object({}),
		ReplicatedJob: object({ MaxConcurrent: count, TotalCompletions: count }),
		GlobalJob: object({}),
	}),
	UpdateConfig: update,
	RollbackConfig: update,
	Networks: networks,
	EndpointSpec: object({ Mode: text, Ports: z.array(port) }),
});

export type ServiceDocument = z.infer<typeof serviceSchema>;
export type TemplateDocument = z.infer<typeof template>;
export type ContainerDocument = z.infer<typeof container>;
export type ResourcesDocument = z.infer<typeof resources>;
export type MountDocument = z.infer<typeof mount>;
export type UpdateDocument = z.infer<typeof update>;
export type PortDocument = z.infer<typeof port>;
