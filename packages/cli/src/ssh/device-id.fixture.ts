import { parseDeviceId } from '@culvert/protocol';
import fc from 'fast-check';

const ALPHABET = [..."abcXYZ019-:.+%_#*?!(),=@;$'"];

/** Any valid device id, those that trouble a shell or ssh among them. */
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
