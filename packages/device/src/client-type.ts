import { packageVersion } from '@culvert/stream/package-version';

let clientTypeText: string | undefined;

/** Returns the client's description for the hub's log entries: SDK version, Node version, operating system and architecture. */
export function clientType(): string {
  clientTypeText ??= `culvert-device/${packageVersion(import.meta.url)} (node ${process.versions.node}; ${process.platform}; ${process.arch})`;
  return clientTypeText;
}
