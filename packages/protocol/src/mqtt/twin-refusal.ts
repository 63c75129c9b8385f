import { CulvertError } from '../errors.ts';
import type { IPublishPacket } from './codec.ts';

/** The topic of a device's request to read its twin or report properties. The device chooses the request id; longer ones than 64 do not match. */
const TWIN_REQUEST = /^\$iothub\/twin\/(?:GET|PATCH\/properties\/reported)\/\?\$rid=([^&/+#\0]{1,64})(?:&|$)/;

/**
 * The response that refuses a request for the device twin, which the hub does not have. Azure's clients would wait forever for a response, and
 * treat one whose JSON body has an `errorCode` as a failure. Undefined when `topic` is not that of such a request.
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
