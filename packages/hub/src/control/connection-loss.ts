import { CulvertError, printable } from '@culvert/protocol';

/** What the error of a device's connection stands for: the device is gone, unless the transport itself found it at fault. */
export function lossOf(error: Error): CulvertError {
  if (error instanceof CulvertError && error.code !== 'stream_lost') return error;
  const code = 'code' in error && typeof error.code === 'string' ? `: ${printable(error.code, 64)}` : '';
  const text = error instanceof CulvertError ? 'The connection was lost.' : `The connection was lost${code}.`;
  return new CulvertError('device_gone', text, { cause: error });
}
