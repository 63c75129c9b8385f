import type { Receiver, Sender } from 'rhea';
import type { SenderInternals } from './rhea-internals.ts';

/** The sender settle mode `settled`: messages on the link are sent settled (AMQP 1.0 §2.8.2). */
const SETTLED = 1;

/**
 * Prepares the answer to the attach of an accepted link: the source and target addresses that the peer has named, and the hub's messages sent
 * settled if the peer has asked for that. An answer without a target or a source would refuse the link (§2.6.3).
 */
export function echoTermini(link: Sender | Receiver): void {
  link.set_source({ address: addressOf(link.source) });
  link.set_target({ address: addressOf(link.target) });
  if (link.is_sender() && link.snd_settle_mode === SETTLED)
    (link as SenderInternals).local.attach.snd_settle_mode = SETTLED;
}

function addressOf(terminus: { readonly address?: unknown } | null | undefined): string {
  return typeof terminus?.address === 'string' ? terminus.address : '';
}
