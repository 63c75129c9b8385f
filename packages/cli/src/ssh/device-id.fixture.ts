import { parseDeviceId } from '@culvert/protocol';
import fc from 'fast-check';

const ALPHABET = [..."abcXYZ019-:.+%_#*?!(),=@;$'"];

/** Any valid device id, including ids that are special to a shell or ssh. */
export const deviceIds = fc
  .array(fc.constantFrom(...ALPHABET), { minLength: 1, maxLength: 128 })
  .map((characters) => characters.join(''))
  .filter((id) => {
    try {
      return parseDeviceId(id) === id;
    } catch {
      return false;
    }
  });
