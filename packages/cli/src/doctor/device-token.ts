import { request } from 'node:https';
import {
  API_VERSION,
  type CulvertError,
  type DeviceConnectionString,
  formatAuthority,
  formatHostPort,
  parseErrorBody,
  signSasToken,
} from '@culvert/protocol';
import { networkError, type OutboundOptions, outboundAgent } from '@culvert/stream';

/** Milliseconds that an answer may take. */
const ANSWER_MS = 20_000;

/** Lifetime in seconds of the token that is made for this one request. */
const TOKEN_SECONDS = 300;

/**
 * Checks whether the hub accepts a device's key, without attaching: the request reads the device's own modules, which its key permits.
 * @throws CulvertError `unauthorized`, `token_expired`, `device_disabled`, …
 */
export async function checkDeviceToken(address: DeviceConnectionString, outbound: OutboundOptions): Promise<void> {
  const { host, port, deviceId } = address;
  const expiry = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
  const audience = `${formatAuthority(host, port)}/devices/${deviceId}`;
  const { key = '', policy } = address;
  const authorization =
    address.token ?? (await signSasToken({ audience, key, expiry, ...(policy === undefined ? {} : { policy }) }));
  const where = formatHostPort(host, port);
  const agent = await outboundAgent(new URL(`https://${where}`), outbound);
  const path = `/devices/${encodeURIComponent(deviceId)}/modules?api-version=${API_VERSION}`;
  try {
    const { status, body } = await new Promise<{ status: number; body: string }>((resolve, reject) => {
      const signal = AbortSignal.timeout(ANSWER_MS);
      request({ host, port, agent, path, headers: { authorization }, signal }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      })
        .on('error', (error) => reject(networkError(error, where)))
        .end();
    });
    const error = status < 300 ? undefined : parseErrorBody(status, body);
    // A policy's token is accepted too, even if it has no permission to read modules.
    if (error !== undefined && error.code !== 'forbidden') throw error;
  } finally {
    agent.destroy();
  }
}

/** Whether {@link checkDeviceToken} can check a device's connection string. */
export function hasDeviceToken({ moduleId, x509 }: DeviceConnectionString): boolean {
  return moduleId === undefined && x509 !== true;
}

/** Whether the error shows that a service's credential was accepted but lacks the permission for the request. */
export function isTaken(error: CulvertError): boolean {
  return error.code === 'forbidden';
}
