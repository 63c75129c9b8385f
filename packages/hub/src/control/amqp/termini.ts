import type { Receiver, Sender } from 'rhea';
import type { SenderInternals } from './rhea-internals.ts';

/** The peer sends its messages settled, or wants the hub's messages settled (AMQP 1.0 §2.8.2). */
const SETTLED = 1;

/**
 * Answers the attach of a link that is taken: source and target as the peer has named them, and our messages settled when sent, where it wants
 * them so. Without a target, or a source, an attach refuses (§2.6.3).
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
