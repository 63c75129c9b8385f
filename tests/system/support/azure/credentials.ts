import { createHmac } from 'node:crypto';

/** A device's connection string, parsed as Azure's clients do: split at every `;`, with the names taken as written. */
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
  // The C client splits the host name at its first dot, and fails if there is no dot.
  if (!hostName.includes('.')) throw new Error(`the C client knows no host name without a dot: ${hostName}`);
  return { hostName, deviceId, moduleId: parts.get('ModuleId'), key };
}

/** The audience of a device's token: `{hub}/devices/{id}`, with `/modules/{m}` appended for a module. */
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

/** The C# service client's token for a policy: like {@link csharpToken}, with the policy's name appended. */
export function csharpPolicyToken(audience: string, key: string, expiry: number, policy: string): string {
  return `${csharpToken(audience, key, expiry)}&skn=${encodeURIComponent(policy)}`;
}

/** The Node service client's token for a policy: `sr` not encoded, the policy's name appended. */
export function nodeToken(audience: string, key: string, expiry: number, policy: string): string {
  return `SharedAccessSignature sr=${audience}&sig=${encodeURIComponent(sign(audience, key, expiry))}&se=${expiry}&skn=${policy}`;
}

/** HMAC-SHA256 over `sr` exactly as written in the token, a line feed and `se`. */
function sign(sr: string, key: string, expiry: number): string {
  return createHmac('sha256', Buffer.from(key, 'base64')).update(`${sr}\n${expiry}`).digest('base64');
}
