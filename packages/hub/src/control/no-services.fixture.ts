import { CulvertError } from '@culvert/protocol';
import type { ServiceGateway } from './service-connection.ts';

/** A hub that lets no service in. */
export const NO_SERVICES: ServiceGateway = {
  authenticate: () => Promise.reject(new CulvertError('unauthorized')),
  attach: () => {
    throw new CulvertError('unauthorized');
  },
};
