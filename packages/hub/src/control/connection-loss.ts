import { CulvertError, printable } from '@culvert/protocol';

/** Converts the error of a device's connection: to `device_gone`, unless the transport closed the connection with a CulvertError of its own. */
export function lossOf(error: Error): CulvertError {
  if (error instanceof CulvertError && error.code !== 'stream_lost') return error;
  const code = 'code' in error && typeof error.code === 'string' ? `: ${printable(error.code, 64)}` : '';
  const text = error instanceof CulvertError ? 'The connection was lost.' : `The connection was lost${code}.`;
  return new CulvertError('device_gone', text, { cause: error });
}
