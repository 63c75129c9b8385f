import { CulvertError } from '../errors.ts';
import type { IPublishPacket } from './codec.ts';

/** A device's request to read its twin or to report properties; the request id is the device's own choice, bounded here. */
const TWIN_REQUEST = /^\$iothub\/twin\/(?:GET|PATCH\/properties\/reported)\/\?\$rid=([^&/+#\0]{1,64})(?:&|$)/;

/**
 * The response to a request for the device twin, which does not exist here. Azure's clients treat a response whose JSON body has an
 * `errorCode` as a failure, and wait forever without a response. Undefined when `topic` is no such request.
 */
export function twinRefusal(topic: string): IPublishPacket | undefined {
  const requestId = TWIN_REQUEST.exec(topic)?.[1];
  if (requestId === undefined) return undefined;
  const { row, message } = new CulvertError('not_supported');
  return {
    cmd: 'publish',
    topic: `$iothub/twin/res/${row.http}/?$rid=${requestId}`,
    payload: JSON.stringify({ errorCode: row.azure[0], message }),
    qos: 0,
    dup: false,
    retain: false,
  };
}
