/** Requests for streams that a connected device has left unanswered. */
export interface UnansweredView {
  /** When the first of them was made, ISO 8601. */
  readonly since: string;
  readonly count: number;
}

/** The common fields of all identities in the identity REST API, in Azure's format (docs/protocol/06-identity-rest.md). */
interface RegisteredIdentity {
  readonly deviceId: string;
  /** Changes when an identity is deleted and created again. */
  readonly generationId: string;
  /** Without quotes here, quoted in the `ETag` header. */
  readonly etag: string;
  /** Whether a control channel is attached right now: asked from the router for each response, never stored. */
  readonly connectionState: 'Connected' | 'Disconnected';
  /** ISO 8601, as all times here; `0001-01-01T00:00:00` means never. */
  readonly connectionStateUpdatedTime: string;
  readonly lastActivityTime: string;
  readonly cloudToDeviceMessageCount: number;
  /** Culvert's own; there only while a connected device leaves requests for streams unanswered. */
  readonly unansweredOffers?: UnansweredView;
  readonly authentication: AuthenticationView;
  /** A Culvert extension: public keys of its SSH server, `TYPE BASE64`; absent where none are registered. */
  readonly sshHostKeys?: readonly string[];
}

/** A device as the identity REST API shows it. */
export interface DeviceIdentity extends RegisteredIdentity {
  readonly status: DeviceStatus;
  /** Free text of an administrator, at most 128 characters. */
  readonly statusReason: string | null;
  readonly statusUpdatedTime: string;
  readonly capabilities: { readonly iotEdge: boolean };
}

/** A module as the identity REST API shows it. It has no status of its own: a disabled device's modules are disabled. */
export interface ModuleIdentity extends RegisteredIdentity {
  readonly moduleId: string;
  /** Free text: which program made it. */
  readonly managedBy: string | null;
}

export type DeviceStatus = 'enabled' | 'disabled';

/**
 * How an identity authenticates: by a key (`sas`), by a certificate known by its thumbprint (`selfSigned`), by a certificate of a registered
 * authority whose common name is the device id (`certificateAuthority`), or not at all, so that it never connects (`none`).
 */
export const AUTHENTICATION_TYPES = ['sas', 'selfSigned', 'certificateAuthority', 'none'] as const;
export type AuthenticationType = (typeof AUTHENTICATION_TYPES)[number];

/** An identity's credentials in the REST API; fields that its type does not have are null. */
export interface AuthenticationView {
  readonly type: AuthenticationType;
  /** Base64. */
  readonly symmetricKey: { readonly primaryKey: string | null; readonly secondaryKey: string | null };
  /** SHA-1 or SHA-256 of the certificate, upper-case hexadecimal. */
  readonly x509Thumbprint: { readonly primaryThumbprint: string | null; readonly secondaryThumbprint: string | null };
}

/** Credentials as a caller gives them. Empty or absent keys mean "generate them" on create, "keep them" on update. */
export interface AuthenticationInput {
  readonly type?: AuthenticationType;
  readonly symmetricKey?: { readonly primaryKey?: string | null; readonly secondaryKey?: string | null };
  readonly x509Thumbprint?: {
    readonly primaryThumbprint?: string | null;
    readonly secondaryThumbprint?: string | null;
  };
}

/** What a caller may give to create or change a device. */
export interface DeviceIdentityInput {
  readonly deviceId?: string;
  readonly etag?: string;
  readonly status?: DeviceStatus;
  readonly statusReason?: string | null;
  readonly authentication?: AuthenticationInput;
  readonly capabilities?: { readonly iotEdge?: boolean };
  /** An empty list forgets those there are: the next agent registers its own. */
  readonly sshHostKeys?: readonly string[];
}

/** What a caller may give to create or change a module. */
export interface ModuleIdentityInput {
  readonly deviceId?: string;
  readonly moduleId?: string;
  readonly etag?: string;
  readonly managedBy?: string | null;
  readonly authentication?: AuthenticationInput;
  /** As a device's. */
  readonly sshHostKeys?: readonly string[];
}

/** A certificate authority whose devices may connect, as `GET /certificate-authorities/{name}` shows it. */
export interface AuthorityView {
  /** 1 to 64 letters, digits, `.`, `-` or `_`; an administrator's choice. */
  readonly name: string;
  readonly subject: string;
  /** SHA-256, upper-case hexadecimal. */
  readonly thumbprint: string;
  /** ISO 8601. */
  readonly notBefore: string;
  readonly notAfter: string;
  /** PEM. */
  readonly certificate: string;
}

/** Paging header of `GET /devices`, in the request and, while there is more, in the answer. */
export const CONTINUATION_HEADER = 'x-ms-continuation';

/** Azure's notation of "never". */
export const NEVER = '0001-01-01T00:00:00';

/** A shared access policy as `GET /policies/{name}` shows it. */
export interface PolicyView {
  readonly name: string;
  readonly permissions: readonly Permission[];
  readonly primaryKey: string;
  readonly secondaryKey: string;
  /** Made from the primary key. */
  readonly connectionString: string;
}

/**
 * Permissions. The first four are Azure's; `PolicyManage` (reading and rotating policies) and `MonitorRead` (the live view,
 * logs, audit and limits) are Culvert extensions.
 */
export const PERMISSIONS = [
  'RegistryRead',
  'RegistryWrite',
  'ServiceConnect',
  'DeviceConnect',
  'PolicyManage',
  'MonitorRead',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** The answer to `GET /`: where the hub and its streaming endpoint are. */
export interface EndpointInformation {
  readonly hostName: string;
  /** `https://host:port`, as `az iot hub devicestream show` prints them. */
  readonly streamingEndpoints: readonly string[];
  /**
   * A Culvert extension: where devices are asked for a certificate, as the hub's `clientCertificates` says: `listen`, `mqttListen`, `amqpListen`, or host
   * names. Empty: nowhere.
   */
  readonly clientCertificates?: readonly string[];
}
