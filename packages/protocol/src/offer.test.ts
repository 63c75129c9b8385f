import { describe, expect, it } from 'vitest';
import { formatOfferExtensions, OFFER_PROPERTIES, type OfferExtensions, parseOfferExtensions } from './offer.ts';

describe('what an offer says beyond the Azure protocol', () => {
  it('comes back from the wire as it was, every part of it and any of them alone', () => {
    const all = Object.fromEntries(Object.keys(OFFER_PROPERTIES).map((name, index) => [name, `value ${index}`]));
    expect(parseOfferExtensions(formatOfferExtensions(all))).toEqual(all);
    for (const [name, value] of Object.entries(all)) {
      const one: OfferExtensions = { [name]: value };
      expect(parseOfferExtensions(formatOfferExtensions(one))).toEqual(one);
    }
  });

  it('leaves out what there is not', () => {
    expect(formatOfferExtensions({ streamId: undefined, caller: 'policy:service' })).toEqual({
      'culvert-caller': 'policy:service',
    });
    expect(parseOfferExtensions(undefined)).toEqual({});
  });

  it('takes the first of a property that came twice, and nothing that is no text', () => {
    const properties = { 'culvert-stream-id': ['a', 'b'], 'culvert-caller': 7, other: 'x' };
    expect(parseOfferExtensions(properties)).toEqual({ streamId: 'a' });
  });
});
