import { createHmac } from 'node:crypto';

/** A device's connection string as Azure's clients take it apart: at every `;`, names as they stand. */
export interface AzureConnectionString {
  readonly hostName: string;
  readonly deviceId: string;
  readonly moduleId: string | undefined;
  readonly key: string;
}

export function parseConnectionString(text: string): AzureConnectionString {
  const parts = new Map(text.split(';').map((part) => [part.split('=', 1)[0], part.slice(part.indexOf('=') + 1)]));
  const [hostName, deviceId, key] = ['HostName', 'DeviceId', 'SharedAccessKey'].map((name) => parts.get(name));
  if (hostName === undefined || deviceId === undefined || key === undefined)
    throw new Error(`no connection string of a device with a key: ${[...parts.keys()]}`);
  // The C client splits the host name at its first dot and fails without one.
  if (!hostName.includes('.')) throw new Error(`the C client knows no host name without a dot: ${hostName}`);
  return { hostName, deviceId, moduleId: parts.get('ModuleId'), key };
}

/** `{hub}/devices/{id}`, with `/modules/{m}` for a module: what a device's token is made for. */
export function audienceOf({ hostName, deviceId, moduleId }: AzureConnectionString): string {
  return `${hostName}/devices/${deviceId}${moduleId === undefined ? '' : `/modules/${moduleId}`}`;
}

/** The C client's token: `sr` not encoded, the escapes of `sig` in lower case, no `skn`. `expiry` in Unix seconds. */
export function cToken(audience: string, key: string, expiry: number): string {
  const lower = encodeURIComponent(sign(audience, key, expiry)).replace(/%../g, (octet) => octet.toLowerCase());
  return `SharedAccessSignature sr=${audience}&sig=${lower}&se=${expiry}`;
}

/** The C# client's token: `sr` encoded and signed as encoded, escapes in upper case. */
export function csharpToken(audience: string, key: string, expiry: number): string {
  const sr = encodeURIComponent(audience);
  return `SharedAccessSignature sr=${sr}&sig=${encodeURIComponent(sign(sr, key, expiry))}&se=${expiry}`;
}

/** The C# service client's token of a policy: as {@link csharpToken}, the policy's name last. */
export function csharpPolicyToken(audience: string, key: string, expiry: number, policy: string): string {
  return `${csharpToken(audience, key, expiry)}&skn=${encodeURIComponent(policy)}`;
}

/** The Node service client's token of a policy: `sr` not encoded, the policy's name last. */
export function nodeToken(audience: string, key: string, expiry: number, policy: string): string {
  return `SharedAccessSignature sr=${audience}&sig=${encodeURIComponent(sign(audience, key, expiry))}&se=${expiry}&skn=${policy}`;
}

/** HMAC-SHA256 over `sr` as it stands in the token, a line feed and `se`. */
function sign(sr: string, key: string, expiry: number): string {
  return createHmac('sha256', Buffer.from(key, 'base64')).update(`${sr}\n${expiry}`).digest('base64');
}
