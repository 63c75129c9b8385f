import { packageVersion } from '@culvert/stream/package-version';

let clientTypeText: string | undefined;

/** What the device tells the hub that it is, for the hub's logs: this SDK and Node with their versions, the system, the architecture. */
export function clientType(): string {
  clientTypeText ??= `culvert-device/${packageVersion(import.meta.url)} (node ${process.versions.node}; ${process.platform}; ${process.arch})`;
  return clientTypeText;
}
