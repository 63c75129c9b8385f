/** The stream requests that a connected device has not answered. */
export interface UnansweredView {
  /** The time of the first unanswered request, ISO 8601. */
  readonly since: string;
  readonly count: number;
}

/** The common fields of all identities in the identity REST API, in Azure's format (docs/protocol/06-identity-rest.md). */
interface RegisteredIdentity {
  readonly deviceId: string;
  /** Different for an identity that was deleted and created again. */
  readonly generationId: string;
  /** Without the quotes that the `ETag` header has. */
  readonly etag: string;
  /** Whether a control channel is attached at this moment. Read from the router for each response, never stored. */
  readonly connectionState: 'Connected' | 'Disconnected';
  /** ISO 8601, as all times in this interface; `0001-01-01T00:00:00` means never. */
  readonly connectionStateUpdatedTime: string;
  readonly lastActivityTime: string;
  readonly cloudToDeviceMessageCount: number;
  /** A Culvert extension, present only while a connected device has not answered one or more stream requests. */
  readonly unansweredOffers?: UnansweredView;
  readonly authentication: AuthenticationView;
  /** A Culvert extension: public keys of the identity's SSH server, `TYPE BASE64`; absent when none are registered. */
  readonly sshHostKeys?: readonly string[];
}

/** A device as returned by the identity REST API. */
export interface DeviceIdentity extends RegisteredIdentity {
  readonly status: DeviceStatus;
  /** Free text of an administrator, at most 128 characters. */
  readonly statusReason: string | null;
  readonly statusUpdatedTime: string;
  readonly capabilities: { readonly iotEdge: boolean };
}

/** A module as returned by the identity REST API. A module has no status of its own: it is disabled when its device is. */
export interface ModuleIdentity extends RegisteredIdentity {
  readonly moduleId: string;
  /** Free text: the program that created the module. */
  readonly managedBy: string | null;
}

export type DeviceStatus = 'enabled' | 'disabled';

/**
 * How an identity authenticates: with a key (`sas`); with a certificate that has a registered thumbprint (`selfSigned`); with a certificate
 * that a registered authority issued and whose common name is the device id, or DEVICE/MODULE for a module (`certificateAuthority`); or not at
 * all, so that it cannot connect (`none`).
 */
export const AUTHENTICATION_TYPES = ['sas', 'selfSigned', 'certificateAuthority', 'none'] as const;
export type AuthenticationType = (typeof AUTHENTICATION_TYPES)[number];

/** An identity's credentials as returned by the REST API; fields that do not apply to its authentication type are null. */
export interface AuthenticationView {
  readonly type: AuthenticationType;
  /** Base64. */
  readonly symmetricKey: { readonly primaryKey: string | null; readonly secondaryKey: string | null };
  /** SHA-1 or SHA-256 of the certificate, upper-case hexadecimal. */
  readonly x509Thumbprint: { readonly primaryThumbprint: string | null; readonly secondaryThumbprint: string | null };
}

/** Credentials in a request. Empty or absent keys are generated when the identity is created, and kept when it is updated. */
export interface AuthenticationInput {
  readonly type?: AuthenticationType;
  readonly symmetricKey?: { readonly primaryKey?: string | null; readonly secondaryKey?: string | null };
  readonly x509Thumbprint?: {
    readonly primaryThumbprint?: string | null;
    readonly secondaryThumbprint?: string | null;
  };
}

/** The body of a request that creates or changes a device. */
export interface DeviceIdentityInput {
  readonly deviceId?: string;
  readonly etag?: string;
  readonly status?: DeviceStatus;
  readonly statusReason?: string | null;
  readonly authentication?: AuthenticationInput;
  readonly capabilities?: { readonly iotEdge?: boolean };
  /** An empty list removes the registered keys; the next agent that connects then registers its own. */
  readonly sshHostKeys?: readonly string[];
}

/** The body of a request that creates or changes a module. */
export interface ModuleIdentityInput {
  readonly deviceId?: string;
  readonly moduleId?: string;
  readonly etag?: string;
  readonly managedBy?: string | null;
  readonly authentication?: AuthenticationInput;
  /** See {@link DeviceIdentityInput.sshHostKeys}. */
  readonly sshHostKeys?: readonly string[];
}

/** A registered certificate authority, as returned by `GET /certificate-authorities/{name}`. Devices with its certificates may connect. */
export interface AuthorityView {
  /** Chosen by an administrator: 1 to 64 letters, digits, `.`, `-` or `_`. */
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

/** The paging header of `GET /devices`: in the request, and in the response if there are more pages. */
export const CONTINUATION_HEADER = 'x-ms-continuation';

/** Azure's notation of "never". */
export const NEVER = '0001-01-01T00:00:00';

/** A shared access policy as returned by `GET /policies/{name}`. */
export interface PolicyView {
  readonly name: string;
  readonly permissions: readonly Permission[];
  readonly primaryKey: string;
  readonly secondaryKey: string;
  /** The connection string with the primary key. */
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

/** The response of `GET /`: the addresses of the hub and its streaming endpoint. */
export interface EndpointInformation {
  readonly hostName: string;
  /** In the form `https://host:port`, as `az iot hub devicestream show` prints them. */
  readonly streamingEndpoints: readonly string[];
  /**
   * A Culvert extension: the listeners (`listen`, `mqttListen`, `amqpListen`) or host names at which devices are asked for a certificate, as in
   * the hub's setting `clientCertificates`. Empty: devices are never asked for one.
   */
  readonly clientCertificates?: readonly string[];
}
