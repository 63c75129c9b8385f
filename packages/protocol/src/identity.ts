/** A device as the identity REST API shows it: the preview's own shape (§9 of its wire), a subset for devices with keys. */
export interface DeviceIdentity {
  readonly deviceId: string;
  /** Changes when a device is deleted and made again. */
  readonly generationId: string;
  /** Without quotes here, quoted in the `ETag` header. */
  readonly etag: string;
  readonly status: DeviceStatus;
  /** Free text of an administrator, at most 128 characters. */
  readonly statusReason: string | null;
  /** ISO 8601; `0001-01-01T00:00:00` means never. */
  readonly statusUpdatedTime: string;
  /** Whether a control channel is attached right now: asked of the router when the answer is made, never stored. */
  readonly connectionState: 'Connected' | 'Disconnected';
  readonly connectionStateUpdatedTime: string;
  readonly lastActivityTime: string;
  readonly cloudToDeviceMessageCount: number;
  readonly authentication: {
    readonly type: 'sas';
    readonly symmetricKey: { readonly primaryKey: string; readonly secondaryKey: string };
  };
  readonly capabilities: { readonly iotEdge: boolean };
}

export type DeviceStatus = 'enabled' | 'disabled';

/** What a caller may give to create or change a device. Empty or absent keys mean "make them" on create, "keep them" on update. */
export interface DeviceIdentityInput {
  readonly deviceId?: string;
  readonly etag?: string;
  readonly status?: DeviceStatus;
  readonly statusReason?: string | null;
  readonly authentication?: {
    readonly type?: string;
    readonly symmetricKey?: { readonly primaryKey?: string; readonly secondaryKey?: string };
  };
}

/** Paging header of `GET /devices`, in the request and, while there is more, in the answer. */
export const CONTINUATION_HEADER = 'x-ms-continuation';

/** How the preview writes "never". */
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

/** What a credential may do. The first four are the preview's; `PolicyManage` (reading and rotating policies) is ours. */
export const PERMISSIONS = [
  'RegistryRead',
  'RegistryWrite',
  'ServiceConnect',
  'DeviceConnect',
  'PolicyManage',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** The answer to `GET /`: where the hub and its streaming endpoint are. */
export interface EndpointInformation {
  readonly hostName: string;
  /** `https://host:port`, as `az iot hub devicestream show` prints them. */
  readonly streamingEndpoints: readonly string[];
}
