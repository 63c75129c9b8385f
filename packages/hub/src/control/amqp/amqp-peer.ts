import type { Duplex } from 'node:stream';
import { CulvertError, type Identity, rejectReason } from '@culvert/protocol';
import type { Timer } from '@culvert/stream';
import type { Delivery, Message, Receiver, Sender } from 'rhea';
import { missingCredential } from '../../auth/missing-credential.ts';
import { faultOf } from '../../observe/events.ts';
import { reportRefusal } from '../channel-events.ts';
import type { ControlDeps, ControlOrigin } from '../control-channel.ts';
import {
  type Audience,
  type DeviceNode,
  parseIdentityName,
  parseLinkAddress,
  type ServiceNode,
} from './amqp-addresses.ts';
import { CbsNode } from './amqp-cbs.ts';
import type { AmqpChannel } from './amqp-channel.ts';
import { amqpError } from './amqp-error.ts';
import { AmqpIdentities } from './amqp-identities.ts';
import { AmqpLink, type AmqpLinkListener } from './amqp-link.ts';
import { refuseMessage, TwinNode } from './amqp-other-nodes.ts';
import { type PlainClaim, saslMechanisms } from './amqp-sasl.ts';
import { AmqpService } from './amqp-service.ts';
import { receiveStreamMessage } from './amqp-stream-messages.ts';
import type { Outcome } from './rhea-engine.ts';
import { echoTermini } from './termini.ts';

type PeerLink = Sender | Receiver;

/**
 * Milliseconds in which a device with a certificate may identify itself by a link or a token; afterwards its certificate's common name identifies it.
 * The Node SDK considers itself connected before it attaches a link, which it does only when it needs one.
 */
const CERTIFICATE_AFTER_MS = 2_000;

/** The purpose of an attached link. */
type Purpose =
  | { readonly kind: 'cbs' }
  | { readonly kind: 'service'; readonly node: ServiceNode }
  | { readonly kind: 'device'; readonly channel: AmqpChannel; readonly node: DeviceNode };

/** The peer of an AMQP connection, devices or a service: has its credentials verified, and assigns each of its links a purpose. */
export class AmqpPeer implements AmqpLinkListener {
  readonly #origin: ControlOrigin;
  readonly #deps: ControlDeps;
  readonly #link: AmqpLink;
  readonly #identities: AmqpIdentities;
  readonly #service: AmqpService;
  readonly #cbs: CbsNode;
  readonly #twins: TwinNode;
  readonly #purposes = new Map<PeerLink, Purpose>();
  /** Channels with offers that wait for credit. */
  readonly #awaitingCredit = new Set<AmqpChannel>();
  /** A policy's token, which is verified for each identity that a link names. */
  #policyToken: string | undefined;
  #certificateTimer: Timer | undefined;
  #isAuthenticated = false;
  /** The identity that the peer last claimed, by a credential or a link, authenticated or not. */
  #claimed: Identity | undefined;
  /** The error of the last refused credential, which has been reported already. */
  #refusal: CulvertError | undefined;
  #settleAuthenticated: (authenticated: boolean) => void = () => {};

  /** Resolves true once a device or service has authenticated, false when the connection ended before; never rejects. */
  readonly authenticated: Promise<boolean>;

  constructor(connection: Duplex, origin: ControlOrigin, deps: ControlDeps) {
    this.#origin = origin;
    this.#deps = deps;
    this.authenticated = new Promise((resolve) => {
      this.#settleAuthenticated = resolve;
    });
    const { clock, limits } = deps;
    const { protocol, certificate } = origin;
    this.#link = new AmqpLink(connection, {
      protocol,
      clock,
      limits,
      sasl: saslMechanisms({ hasCertificate: certificate !== undefined, claim: (claim) => this.#claim(claim) }),
      identities: () => this.#identities.size + (this.#service.isAuthenticated ? 1 : 0),
      listener: this,
    });
    const canSend = (link: Sender): boolean => this.#link.canSend(link);
    const send = (link: Sender, message: Buffer, tag?: Buffer): void => this.#link.send(link, message, tag);
    this.#identities = new AmqpIdentities({
      origin,
      deps,
      onAuthenticated: () => this.#onAuthenticated(),
      carrier: {
        canSend,
        send,
        awaitCredit: (channel) => this.#awaitingCredit.add(channel),
        offersChanged: (channel) => deps.registrar.offersChanged(channel),
        close: (channel, error) => this.#closeChannel(channel, error),
      },
    });
    this.#service = new AmqpService({
      ...{ origin, deps, onAuthenticated: () => this.#onAuthenticated() },
      end: (error) => this.#link.end(error),
    });
    this.#cbs = new CbsNode({
      canSend,
      send,
      admit: (audience, token) => this.#admitTo(audience, token),
      refused: (error, audience) =>
        this.#reportRefused(error, audience.kind === 'identity' ? audience.identity : undefined),
      hold: () => this.#link.hold(),
      end: (error) => this.#link.end(error),
    });
    this.#twins = new TwinNode({ canSend, send });
    this.#link.start();
  }

  opened(): void {
    if (this.#isAuthenticated || this.#origin.certificate === undefined) return;
    this.#certificateTimer = this.#deps.clock.setTimer(CERTIFICATE_AFTER_MS, () => this.#admitByCertificate());
  }

  linkOpened(link: PeerLink): void {
    const address = parseLinkAddress(link.is_receiver() ? link.target?.address : link.source?.address);
    if (address === undefined) refuse(link, new CulvertError('route_not_found'));
    else if (address.kind === 'device') this.#deviceLinkOpened(link, address);
    else if (address.kind === 'service') this.#serviceLinkOpened(link, address.node);
    else {
      echoTermini(link);
      this.#purposes.set(link, address);
      this.#cbs.linkOpened(link);
    }
  }

  #deviceLinkOpened(link: PeerLink, { identity, node }: { identity: Identity; node: DeviceNode }): void {
    this.#claimed = identity;
    const channel = this.#identities.channel(identity);
    const hasCredential = this.#policyToken !== undefined || this.#origin.certificate !== undefined;
    if (channel !== undefined) this.#open(link, { kind: 'device', channel, node });
    else if (this.#service.isClaimed) this.#refuseLink(link, serviceIsNoDevice(), identity);
    else if (!hasCredential) this.#refuseLink(link, missingCredential(this.#origin.certificateAsked), identity);
    else {
      this.#openWhenAdmitted(link, async () => {
        const admitted = await this.#admit(identity, this.#policyToken);
        return () => this.#open(link, { kind: 'device', channel: admitted, node });
      });
    }
  }

  /** A service may only send to the node for messages to devices, and only receive from the node for feedback. */
  #serviceLinkOpened(link: PeerLink, node: ServiceNode): void {
    const open = () => {
      echoTermini(link);
      this.#purposes.set(link, { kind: 'service', node });
      this.#service.linkOpened(link);
    };
    const token = this.#policyToken;
    if (link.is_receiver() !== (node === 'deviceMessages')) refuse(link, new CulvertError('route_not_found'));
    else if (this.#service.isAuthenticated) open();
    else if (token === undefined) this.#refuseLink(link, missingCredential(this.#origin.certificateAsked));
    else {
      this.#openWhenAdmitted(link, async () => {
        await this.#admitService(token);
        return open;
      });
    }
  }

  #refuseLink(link: PeerLink, error: CulvertError, claimed?: Identity): void {
    this.#reportRefused(error, claimed);
    refuse(link, error);
  }

  /** Reports a refusal, and records it so that the end of the connection does not report it again. */
  #reportRefused(error: CulvertError, claimed: Identity | undefined): void {
    this.#refusal = error;
    reportRefusal(error, this.#origin, this.#deps.onEvent, claimed);
  }

  linkClosed(link: PeerLink): void {
    const purpose = this.#purposes.get(link);
    this.#purposes.delete(link);
    if (purpose?.kind === 'cbs') this.#cbs.linkClosed(link);
    if (purpose?.kind !== 'device') return;
    const { channel, node } = purpose;
    if (node === 'streams') channel.linkClosed(link);
    if (this.#linksOf(channel).length === 0 && this.#identities.leave(channel)) this.#endWithoutChannel();
  }

  message(receiver: Receiver, message: Message | Buffer, delivery: Delivery): void {
    const purpose = this.#purposes.get(receiver);
    if (purpose === undefined) delivery.release();
    else if (purpose.kind === 'cbs') this.#cbs.message(receiver, message, delivery);
    else if (purpose.kind === 'service') refuseMessage(delivery);
    else if (purpose.node === 'streams') receiveStreamMessage(purpose.channel, message, delivery, this.#deps);
    else if (purpose.node === 'twin') this.#answerTwin(purpose.channel, message, delivery);
    else refuseMessage(delivery);
  }

  disposed(delivery: Delivery, outcome: Outcome): void {
    const purpose = this.#purposes.get(delivery.link);
    if (purpose?.kind !== 'device' || outcome === 'accepted' || !Buffer.isBuffer(delivery.tag)) return;
    const reason: unknown = delivery.remote_state?.['error']?.description;
    purpose.channel.answered(delivery.tag.toString('hex'), {
      accepted: false,
      reason: typeof reason === 'string' ? rejectReason(reason) : 'The device did not take the request.',
    });
  }

  flowed(): void {
    this.#cbs.flush();
    this.#twins.flush();
    const channels = [...this.#awaitingCredit];
    this.#awaitingCredit.clear();
    for (const channel of channels) channel.flush();
  }

  ended(error: CulvertError): void {
    const { protocol } = this.#origin;
    const fault = error === this.#refusal ? undefined : faultOf(error, protocol);
    if (fault !== undefined) this.#deps.onEvent(fault);
    if (!this.#isAuthenticated && this.#refusal === undefined) this.#reportEnd(error);
    this.#certificateTimer?.cancel();
    this.#identities.end(error);
    this.#service.ended(error);
    this.#purposes.clear();
    this.#awaitingCredit.clear();
    this.#settleAuthenticated(false);
  }

  #reportEnd(error: CulvertError): void {
    // A device that needs EXTERNAL disconnects when that mechanism is not offered. This counts as a refusal too.
    const wantsExternal = this.#origin.certificateAsked === false && this.#link.awaitsMechanism;
    const refusal = wantsExternal ? missingCredential(false) : error;
    reportRefusal(refusal, this.#origin, this.#deps.onEvent, this.#claimed);
  }

  async #claim(claim: PlainClaim): Promise<void> {
    if (claim.kind === 'policy') this.#policyToken = claim.token;
    else await this.#admit(claim.identity, claim.token);
  }

  async #admitTo(audience: Audience, token: string): Promise<void> {
    if (audience.kind === 'hub') await this.#admitService(token);
    else await this.#admit(audience.identity, token);
  }

  async #admit(identity: Identity, token: string | undefined): Promise<AmqpChannel> {
    this.#claimed = identity;
    if (this.#service.isClaimed) {
      const error = serviceIsNoDevice();
      this.#reportRefused(error, identity);
      throw error;
    }
    return this.#verifying(() => this.#identities.admit(identity, token));
  }

  async #admitService(token: string): Promise<void> {
    try {
      if (this.#identities.isClaimed) throw new CulvertError('unauthorized', 'This connection belongs to devices.');
      await this.#verifying(() => this.#service.admit(token));
    } catch (reason) {
      const error = CulvertError.from(reason);
      const fault = faultOf(error, this.#origin.protocol);
      if (fault !== undefined) this.#deps.onEvent(fault);
      this.#reportRefused(error, undefined);
      throw error;
    }
  }

  /** Pauses reading until the first credential is verified, so that an unauthenticated client cannot make the hub buffer more than is already read. */
  async #verifying<T>(verify: () => Promise<T>): Promise<T> {
    const release = this.#isAuthenticated ? undefined : this.#link.hold();
    try {
      return await verify();
    } catch (reason) {
      this.#refusal = CulvertError.from(reason);
      throw this.#refusal;
    } finally {
      release?.();
    }
  }

  /** Takes the certificate's common name as the name of the device or module, which it is in every certificate signed by an authority. */
  #admitByCertificate(): void {
    const name = this.#origin.certificate?.commonName;
    if (name === undefined || this.#policyToken !== undefined || this.#service.isClaimed) return;
    try {
      const identity = parseIdentityName(name);
      void this.#identities.admitByCertificate(identity).finally(this.#link.hold());
    } catch {
      // The common name is not that of a device or module; a link must identify the device.
    }
  }

  #onAuthenticated(): void {
    this.#isAuthenticated = true;
    this.#certificateTimer?.cancel();
    this.#link.authenticated();
    this.#settleAuthenticated(true);
  }

  /** Pauses reading and answers while the credential is verified, so that the answer to the attach already opens or refuses the link. */
  #openWhenAdmitted(link: PeerLink, admit: () => Promise<() => void>): void {
    const releases = [this.#link.holdAnswers(), this.#link.hold()];
    admit()
      .then(
        (open) => open(),
        (reason) => this.#credentialRefused(link, CulvertError.from(reason)),
      )
      .finally(() => {
        for (const release of releases) release();
      });
  }

  /** Refuses the link. Also ends the connection if nobody has authenticated on it, because its credential would be refused for every link. */
  #credentialRefused(link: PeerLink, error: CulvertError): void {
    refuse(link, error);
    if (!this.#isAuthenticated) this.#link.end(error);
  }

  #open(link: PeerLink, purpose: Extract<Purpose, { kind: 'device' }>): void {
    const { endedWith } = purpose.channel;
    if (endedWith !== undefined) {
      refuse(link, endedWith);
      return;
    }
    echoTermini(link);
    this.#purposes.set(link, purpose);
    purpose.channel.linkOpened(link, purpose.node);
  }

  #linksOf(channel: AmqpChannel): PeerLink[] {
    const links: PeerLink[] = [];
    for (const [link, purpose] of this.#purposes)
      if (purpose.kind === 'device' && purpose.channel === channel) links.push(link);
    return links;
  }

  #answerTwin(channel: AmqpChannel, message: Message | Buffer, delivery: Delivery): void {
    this.#twins.message(message, delivery, () => this.#twinAnswers(channel));
  }

  #twinAnswers(channel: AmqpChannel): Sender[] {
    return this.#linksOf(channel).filter((link): link is Sender => {
      const purpose = this.#purposes.get(link);
      return link.is_sender() && purpose?.kind === 'device' && purpose.node === 'twin';
    });
  }

  #closeChannel(channel: AmqpChannel, error: CulvertError): void {
    for (const link of this.#linksOf(channel)) {
      this.#purposes.delete(link);
      refuse(link, error);
    }
    this.#identities.remove(channel);
    channel.ended(error);
    this.#endWithoutChannel(error);
  }

  /** Ends the connection if its last channel has ended. */
  #endWithoutChannel(error = new CulvertError('device_gone', 'All devices have detached their links.')): void {
    if (this.#identities.channels.length === 0) this.#link.end(error);
  }
}

const serviceIsNoDevice = () =>
  new CulvertError('unauthorized', 'This connection belongs to a service: a device needs one of its own.');

function refuse(link: PeerLink, error: CulvertError): void {
  link.close(amqpError(error));
}
