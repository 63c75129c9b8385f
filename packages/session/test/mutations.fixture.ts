/** A change to the core that removes one rule of the design. */
export interface Mutation {
  /** In packages/session/src/core. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly text: string;
  readonly replacement: string;
  /** The rule that is removed. */
  readonly rule: string;
}

function group(
  file: string,
  rows: readonly (readonly [rule: string, text: string, replacement: string])[],
): Mutation[] {
  return rows.map(([rule, text, replacement]) => ({ file, rule, text, replacement }));
}

const NEVER = '(false as boolean)';

/**
 * Every rule of the session that a test must hold: sections 2, 4, 5 and 6 of its design. "Nothing counted before the proof" is not among them, because
 * two checks hold it, in link.ts and in session-core.ts, and a test cannot tell when one is missing. Nor is "no data while control frames wait":
 * multiplexer.ts writes none then, and there would be no room, since frame-sender.ts keeps 64 KiB of the ring from data. Nor is "nothing enters the ring
 * without a link": frame-sender.ts checks it when a message is scheduled, and when it is sent.
 */
export const MUTATIONS: readonly Mutation[] = [
  ...group('link.ts', [
    ['what a former link delivered is skipped', 'if (this.position < received) {', `if (${NEVER}) {`],
    ['a repeated frame has the length of the first', 'return end > received ?', `return ${NEVER} ?`],
    [
      'no ACK or PING before the proof',
      "if (!this.isProven) return 'A frame before the proof.';\n    if (length",
      'if (length',
    ],
    ['64 KiB before the proof', 'if (!this.isProven && this.#bytes >', `if (${NEVER} && this.#bytes >`],
    ['one HELLO', "if (this.peerHello !== undefined) return 'A second HELLO.';", ''],
    ['10 answers to PING a second', ' || now - this.#pongAt < PONG_INTERVAL_MS', ''],
    ['one answer to PING pending', 'this.#isPongUnflushed = true;', ''],
    ['at most 1 MiB while a proof is verified', 'this.#heldBytes > MAX_HELD_BYTES', NEVER],
    [
      'frames behind a proof wait for it',
      'this.#held = [];\n    this.#heldBytes = 0;\n    this.#reader.hold();',
      'this.#held = [];',
    ],
    [
      'unknown types that may be ignored are',
      'const isIgnorable = (type & IGNORABLE_BIT) !== 0;',
      `const isIgnorable = ${NEVER};`,
    ],
  ]),
  ...group('frame.ts', [
    [
      'texts have 256 bytes',
      'if (bytes.length <= MAX_TEXT_BYTES) return bytes;',
      'if (bytes.length > 0) return bytes;',
    ],
  ]),
  ...group('frame-reader.ts', [
    [
      'a frame has a maximum length',
      'return this.#length <= MAX_PAYLOAD_BYTES;',
      'return true || MAX_PAYLOAD_BYTES > 0;',
    ],
    ['nothing is delivered after the end of a link', 'this.#isStopped = true;', ''],
    [
      'pieces of a frame are joined when they are many',
      'if (this.#pieces.length === MAX_PIECES) this.#joinPieces();',
      'void MAX_PIECES; void this.#joinPieces;',
    ],
  ]),
  ...group('session-core.ts', [
    ['two PINGs without an answer', 'if (this.#pings >= MAX_PINGS) {', 'if (this.#pings >= MAX_PINGS + 90) {'],
    ['a timer that fires late counts nothing', 'if (isLate || !isNeeded) {', 'if (!isNeeded) {'],
    ['PING only while something is open or unacknowledged', 'if (isLate || !isNeeded) {', 'if (isLate) {'],
    [
      'PING while something is unacknowledged',
      'this.multiplexer.size > 0 || !this.multiplexer.isAcknowledged;',
      'this.multiplexer.size > 0;',
    ],
    [
      'any byte is life',
      'this.#silence.heard();\n    this.#pings = 0;\n    this.#quietChecks = 0;\n  }\n\n  counted',
      '}\n\n  counted',
    ],
    [
      'the device loses a link that was silent for two minutes',
      'this.#quietChecks >= MAX_QUIET_CHECKS',
      `this.#quietChecks >= MAX_QUIET_CHECKS && ${NEVER}`,
    ],
    ['only silence in a row counts', 'this.#pings = 0;\n    this.#quietChecks = 0;\n  }', 'this.#pings = 0;\n  }'],
    [
      'what the peer had not received when it left may move',
      'if (!movesAll && connection.id <= highestTaken) continue;',
      'if (!movesAll) continue;',
    ],
    [
      'what the peer had received when it left does not move',
      'if (!movesAll && connection.id <= highestTaken) continue;',
      '',
    ],
    [
      'only the current link counts as heard',
      'if (link !== this.#current) return;\n    this.#silence',
      'this.#silence',
    ],
    [
      'a violation before the proof costs the link only',
      "if (link === this.#current) this.finish({ reason: 'protocol'",
      "if (link.number > 0) this.finish({ reason: 'protocol'",
    ],
    [
      'idle without DATA',
      'if (this.#idleFor < limit) this.#watchIdle();',
      'if (this.#idleFor < limit * 99) this.#watchIdle();',
    ],
    ['DATA that is sent or received is no idleness', 'hasMoved ? 0 :', `hasMoved && ${NEVER} ? 0 :`],
    [
      'the idle clock stands still without a link',
      'this.#cancelIdle?.();\n    this.#cancelIdle = undefined;\n    this.multiplexer',
      'this.multiplexer',
    ],
    [
      'retention is counted without a link',
      'this.multiplexer.detach();\n    this.watchRetention();',
      'this.multiplexer.detach();',
    ],
    [
      'a link ends the counting of the retention',
      'this.#cancelRetention?.();\n    this.#cancelRetention = undefined;\n    this.heard',
      'this.heard',
    ],
    [
      'connections that no service has had anything of may move, the others not',
      'if (!connection.isUnopened(isCertain ? highestTaken : Number.POSITIVE_INFINITY)) continue;',
      '',
    ],
    [
      'at the device nothing moves',
      "this.#side === 'service' ? this.#takeUnopened(end.reason, highestTaken) : []",
      'this.#takeUnopened(end.reason, highestTaken)',
    ],
    [
      'BYE reaches the peer',
      'if (link !== undefined) {\n      if (end.byPeer)',
      `if (link !== undefined && ${NEVER}) {\n      if (end.byPeer)`,
    ],
    [
      'nothing counted goes before the proof',
      'link.sendProof(mac);\n      if (!link.isOver && this.#end === undefined) sent();\n    });',
      'link.sendProof(mac);\n    });\n    sent();',
    ],
  ]),
  ...group('retention.ts', [
    ['a wall clock that was set does not count', 'wall > MAX_SUSPEND_MS ? 0 : wall', 'wall'],
    [
      'the wall clock counts while a machine is suspended',
      'Math.max(this.ms, wall > MAX_SUSPEND_MS ? 0 : wall)',
      'Math.max(this.ms, wall > MAX_SUSPEND_MS ? 0 : 0)',
    ],
  ]),
  ...group('device-session.ts', [
    ['a link number above the last proven one', 'else if (link.number <= this.provenNumber)', `else if (${NEVER})`],
    ['the device verifies the proof', 'if (!isGood) this', `if (${NEVER}) this`],
    ['older links are dropped when one is proven', 'if (other.number >= link.number) continue;', 'continue;'],
    ['newer links are kept when one is proven', 'if (other.number >= link.number) continue;', ''],
    ['the former link is dropped when a newer is proven', 'former.drop();\n      this.unuse();', 'this.unuse();'],
    [
      'links that wait for their proof: at most 32',
      'if (this.#pending.size >= MAX_PENDING_LINKS) {',
      `if (${NEVER}) {`,
    ],
    [
      '10 s for the proof',
      'this.environment.setTimer(HELLO_MS, giveUp)',
      'this.environment.setTimer(HELLO_MS * 99, giveUp)',
    ],
    ['five resumes a second', 'if (this.#resumes.length >= RESUMES_PER_SECOND) return false;', ''],
    [
      'offsets outside end the session',
      'if (!this.multiplexer.attach(link, received, link.position)) {',
      `if (!this.multiplexer.attach(link, received, link.position) && ${NEVER}) {`,
    ],
    ['each link counts from its own HELLO', 'link.position = this.multiplexer.received;', 'link.position = 0;'],
    [
      'what a former link delivered is acknowledged',
      'attach(link, received, link.position)',
      'attach(link, received, this.multiplexer.received)',
    ],
    [
      'BYE before the proof costs a link',
      '_reason: SessionReason, _text: string): void {\n    this.#forget(link);',
      'reason: SessionReason, text: string): void {\n    this.finish({ reason, text, byPeer: true });\n    this.#forget(link);',
    ],
    [
      'the lesser retention holds',
      'Math.max(1, Math.min(this.retentionSeconds, options.peerRetentionSeconds))',
      'Math.max(1, this.retentionSeconds)',
    ],
    [
      'a drain ends the session when nothing is open',
      'if (this.#isDraining && this.multiplexer.size === 0',
      `if (${NEVER} && this.multiplexer.size === 0`,
    ],
    [
      'a drain waits until everything is acknowledged',
      'this.multiplexer.size === 0 && this.multiplexer.isAcknowledged && this.isUp',
      'this.multiplexer.size === 0 && this.isUp',
    ],
    [
      'services outside the newest list are reset',
      "if (!mayUse(connection.service)) connection.abort('not_permitted');",
      '',
    ],
  ]),
  ...group('device-sessions.ts', [
    ['no second first link', "if (hello.link === 1) refuse('The session exists already.');\n    else if", 'if'],
    [
      'the caller of link 1',
      "else if (offer.caller !== entry.caller) refuse('The link is of another caller than the session.');",
      '',
    ],
    ['the encryption of link 1', 'link.isEncrypted !== entry.isEncrypted', NEVER],
    ['the key of link 1', 'else if (peerKey !== entry.peerKey)', `else if (${NEVER} && peerKey !== entry.peerKey)`],
    ['the session of the offer', 'if (!equalBytes(hello.sessionId, offer.sessionId)) {', `if (${NEVER}) {`],
    [
      'the device and module of HELLO',
      'hello.first.deviceId !== this.#options.deviceId || hello.first.moduleId !== this.#options.moduleId',
      NEVER,
    ],
    ['the version of HELLO', "return 'version';", 'void 0;'],
    ['no session while draining', "if (this.#isDraining) return 'draining';", ''],
    [
      '256 sessions',
      'this.#entries.size < (this.#options.maxSessions ?? MAX_SESSIONS) ||',
      'this.#entries.size < (this.#options.maxSessions ?? MAX_SESSIONS) * 2 ||',
    ],
    [
      'only the same caller’s session makes room',
      'entry.caller !== caller || detachedAt === undefined',
      'detachedAt === undefined',
    ],
    ['the oldest makes room', 'detachedAt < oldest.detachedAt', 'detachedAt > oldest.detachedAt'],
    ['expired ids are remembered', "if (end.reason !== 'expired') return;", 'return;'],
    [
      '1,024 expired ids',
      'if (this.#expired.size <= MAX_EXPIRED) break;',
      'if (this.#expired.size <= MAX_EXPIRED * 2) break;',
    ],
    [
      'expired ids are forgotten after an hour',
      'if (this.#environment.now() - at < EXPIRED_MS) return true;',
      'return true;',
    ],
    ['the list of services', "else if (!entry.mayOpen(connection.service)) connection.refuse('not_permitted');", ''],
    ['the newest list of services', 'entry.mayOpen = newest.mayOpen;', ''],
    ['OPEN while draining', "if (session.isDraining) connection.refuse('going_away');\n          else if", 'if'],
    [
      '10 s for HELLO',
      'cancel = this.#environment.setTimer(HELLO_MS',
      'cancel = this.#environment.setTimer(HELLO_MS * 99',
    ],
    ['60 s for the first byte', 'this.#environment.setTimer(ARRIVE_MS', 'this.#environment.setTimer(ARRIVE_MS * 99'],
  ]),
  ...group('service-session.ts', [
    [
      'the service side verifies the proof',
      'if (isGood) this.#answerProof(link);',
      `if (isGood || !${NEVER}) this.#answerProof(link);`,
    ],
    [
      'BYE before the proof is believed of three links',
      'const isBelieved = link.isEncrypted ||',
      'const isBelieved = !link.isOver || link.number > 0 ||',
    ],
    ['an encrypted BYE before the proof is believed', 'const isBelieved = link.isEncrypted ||', 'const isBelieved ='],
    [
      'HELLO of another version is no more than a BYE',
      "this.byeBeforeProof(link, 'version', 'The device speaks another version of the session.');",
      "this.finish({ reason: 'version', text: '', byPeer: true });",
    ],
    [
      'HELLO names the session and the link',
      'if (!equalBytes(hello.sessionId, this.id) || hello.link !== link.number)',
      `if (${NEVER})`,
    ],
    [
      'offsets outside end the session',
      'if (link.number > 1 && !this.multiplexer.attach(link, received, link.position)) {',
      `if (link.number > 1 && !this.multiplexer.attach(link, received, link.position) && ${NEVER}) {`,
    ],
    [
      'the proof goes before BYE `offsets`',
      'else this.prove(link, [link.ownHello, link.peerHelloFrame], () => this.#proven(link));',
      'else this.#proven(link);',
    ],
    [
      'a quiet session ends with its link',
      'if (this.multiplexer.size === 0 && this.multiplexer.isAcknowledged) {\n        this.finish',
      `if (${NEVER}) {\n        this.finish`,
    ],
    [
      'a session with something unacknowledged does not',
      'if (this.multiplexer.size === 0 && this.multiplexer.isAcknowledged) {\n        this.finish',
      'if (this.multiplexer.size === 0) {\n        this.finish',
    ],
    [
      'an idle session ends after 60 s',
      'this.environment.setTimer(IDLE_SESSION_MS',
      'this.environment.setTimer(IDLE_SESSION_MS * 99',
    ],
    [
      'a new connection keeps the session',
      'this.#cancelIdleSession?.();\n    this.#cancelIdleSession = undefined;\n    return',
      'return',
    ],
    ['retention before the first link', 'this.watchRetention();\n    this.#dial();', 'this.#dial();'],
    [
      'the lesser retention holds',
      'Math.max(1, Math.min(this.retentionSeconds, link.peerHello?.retentionSeconds ?? 1))',
      'this.retentionSeconds',
    ],
    ['back-off', 'this.#waitMs = Math.min(this.#waitMs * 2, MAX_WAIT_MS);', ''],
    [
      'back-off of 10 s at most',
      'Math.min(this.#waitMs * 2, MAX_WAIT_MS)',
      'Math.max(this.#waitMs * 2, MAX_WAIT_MS * 0)',
    ],
    [
      'back-off starts anew after something was acknowledged',
      'this.multiplexer.acknowledged > this.#acknowledgedAtLink',
      'this.multiplexer.acknowledged >= this.#acknowledgedAtLink',
    ],
    [
      'the time that an attempt has waited for the device counts as its back-off',
      'const waited = hasWaited ? this.environment.now() - this.#dialledAt : 0;',
      'const waited = 0 && hasWaited;',
    ],
    [
      'other failed attempts do not count as back-off',
      'const waited = hasWaited ? this.environment.now() - this.#dialledAt : 0;',
      'const waited = hasWaited !== undefined ? this.environment.now() - this.#dialledAt : 0;',
    ],
    ['a link number is used once', 'link.number = this.#nextNumber++;', 'link.number = this.provenNumber + 1;'],
    ['10 s after the first byte', 'this.#watchPending(HELLO_MS);', ''],
    ['60 s after dialling', 'this.#watchPending(ARRIVE_MS - (this.environment.now() - this.#dialledAt));', ''],
    ['no connection while draining', 'this.end === undefined && !this.#isDraining', 'this.end === undefined'],
  ]),
  ...group('multiplexer.ts', [
    ['LIMIT does not go back', 'if (limit < connection.sendLimit) return', `if (${NEVER}) return`],
    ['empty DATA', 'type === FRAME.data ? length === 0 :', `type === FRAME.data ? ${NEVER} :`],
    ['control frames have a maximum length', 'length > 1 + MAX_TEXT_BYTES', NEVER],
    ['unknown types end the session', '(type & IGNORABLE_BIT) === 0 ?', `${NEVER} ?`],
    ['ids that were never opened', 'if (id === 0 || id % 2 === 0 || id > this.#highestId)', `if (${NEVER})`],
    ['frames of closed ids are dropped', 'this.droppedFrames++;\n      return undefined;', "return 'closed';"],
    ['ids are odd and ascend', 'if (id % 2 === 0 || id <= this.#highestId || id > MAX_CONNECTION_ID)', `if (${NEVER})`],
    ['names have 128 bytes', 'payload.length < 4 || payload.length > 4 + MAX_SERVICE_BYTES', 'payload.length < 4'],
    [
      'OPEN is for the service side',
      "if (this.#side !== 'device') return 'OPEN is for the service side to send.';",
      '',
    ],
    ['1,000 connections', 'this.#connections.size > MAX_CONNECTIONS || !', '!'],
    ['OPEN and RESET are limited', ' || !this.#openRate.allows', ''],
    [
      'only RESET before the answer is limited',
      "if (this.#side === 'device' && connection.isOpening) this.#openRate.wasReset();",
      'this.#openRate.wasReset();',
    ],
    [
      'DATA over the limit',
      'if (!connection.window.receive(length)) {',
      `if (!connection.window.receive(length) && ${NEVER}) {`,
    ],
    ['DATA after END', "if (connection.peerEnded) return 'DATA after END.';", ''],
    ['DATA before OPENED', "if (this.#side === 'service' && connection.isOpening) return 'DATA before OPENED.';", ''],
    ['END before OPENED', "if (this.#side === 'service' && connection.isOpening) return 'END before OPENED.';", ''],
    [
      'OPENED twice, or from the service side',
      "if (this.#side === 'device' || !connection.isOpening) return",
      `if (${NEVER}) return`,
    ],
    [
      'nothing of a connection before OPENED',
      "if (connection.isOver || (this.#side === 'device' && connection.isOpening)) return;",
      'if (connection.isOver) return;',
    ],
    ['8 KiB before OPENED', 'connection.sendLimit = EARLY_BYTES;', 'connection.sendLimit = EARLY_BYTES * 8;'],
    [
      'ids of connections that were never sent are not reset',
      "const isUnknown = this.#side === 'service' && connection.owesAnswer;",
      `const isUnknown = ${NEVER};`,
    ],
    ['control goes first, in its turn', 'this.#control.write(sender);\n    // Control', '// Control'],
    [
      'END goes with the last data',
      'if (connection.owesEnd && !connection.isOver) this.#control.writeEnd(connection, sender);',
      '',
    ],
  ]),
  ...group('control-queue.ts', [
    ['2,000 unwritten answers', 'return owing > MAX_OWING ?', 'return owing > MAX_OWING * 99 ?'],
    [
      'no LIMIT before OPENED',
      "} else if (connection.owesLimit && !(this.#side === 'device' && connection.isOpening)) {",
      '} else if (connection.owesLimit) {',
    ],
    [
      'no END before OPENED',
      "if (connection.owesEnd && !(this.#side === 'device' && connection.isOpening)) {",
      'if (connection.owesEnd) {',
    ],
    [
      'refusals have texts of 16 KiB',
      'this.#textBytes + bytes.length <= MAX_REFUSAL_TEXT_BYTES',
      'this.#textBytes + bytes.length <= MAX_REFUSAL_TEXT_BYTES * 99',
    ],
    ['texts that were sent make room for others', 'this.#textBytes -= text.length;', ''],
    ['answers wait for room in the ring', ' && sink.free >= HEADER_BYTES + 1 + MAX_TEXT_BYTES', ''],
    ['control frames wait for room in the ring', 'if (sink.free < MAX_CONTROL_BYTES) return;', ''],
  ]),
  ...group('acknowledgements.ts', [
    ['ACK after 25 ms', 'else if (this.#cancelTimer === undefined) this.#startTimer(ACK_DELAY_MS);', ''],
    ['ACK 25 ms after the first byte, not the last', 'if (!this.isOwed) this.#untoldSince', 'this.#untoldSince'],
    [
      'the timer waits on for bytes that came after it was started',
      'if (left > 0) this.#startTimer(left);\n      else this.',
      'if (left <= 0) this.',
    ],
    ['a new link is told at once what a former link delivered', 'this.#isDue = this.isOwed;', ''],
  ]),
  ...group('frame-sender.ts', [
    ['ACK at the borders of frames', 'if (at !== offset) return false;\n', ''],
    [
      'ACK neither back nor beyond',
      'if (offset < this.#acknowledged || offset > this.#ring.end) return false;',
      'if (offset > this.#ring.end) return true;',
    ],
    [
      'the ring is not used again before it was passed on',
      'const offset = Math.min(this.#acknowledged, this.#flushed);',
      'const offset = this.#acknowledged;',
    ],
    ['64 KiB of the ring for control', 'this.#ring.free - CONTROL_BYTES,', 'this.#ring.free,'],
    ['bytes in flight are limited', 'limit - (this.#ring.end - this.#acknowledged),', 'limit * 1_000,'],
    ['512 KiB before the first acknowledgement', 'this.#cursor - this.#attachedAt >= MAX_UNANSWERED_BYTES', NEVER],
    ['the ring grows', 'this.#ring.limit = more * 2;', ''],
    ['the ring grows from the budget', ' || !this.#budget.take(more)', ''],
    ['the ring has 16 MiB at most', 'more * 2 > MAX_RING_BYTES || ', ''],
    ['the memory of the ring is given back', 'this.#budget.give(this.#ringFromBudget);', ''],
    ['1,024 unflushed writes', 'if (this.#unflushedWrites >= MAX_UNFLUSHED_WRITES) return;', ''],
    ['two messages unflushed', 'while (this.#unflushed < MAX_UNFLUSHED_MESSAGES * this.#messageBytes) {', 'for (;;) {'],
    ['what is unacknowledged is sent again', 'this.#cursor = peerReceived;', 'this.#cursor = this.#ring.end;'],
    [
      'writes of a former link are not counted',
      'if (link !== this.#linkNumber || this.#output === undefined) return;',
      '',
    ],
  ]),
  ...group('replay-ring.ts', [
    ['the ring holds only what there is memory for', 'Math.min(this.#limit, this.#attainable())', 'this.#limit'],
    ['the memory of an empty ring is given back', 'this.#budget.give(this.#fromBudget);', ''],
    [
      '128 KiB of a ring are free',
      'Math.min(size, this.#firstLimit) - FREE_RING_BYTES',
      'Math.min(size, this.#firstLimit)',
    ],
    ['the ring beyond its first limit is paid for once', 'Math.min(size, this.#firstLimit)', 'size'],
  ]),
  ...group('data-queues.ts', [
    [
      'DATA within the limit of its connection',
      'connection.isOver ? 0 : connection.sendable',
      'connection.isOver ? 0 : connection.queuedBytes',
    ],
    ['frames of 16 KiB beside others', 'isShared ? shared : MAX_PAYLOAD_BYTES', 'MAX_PAYLOAD_BYTES'],
    ['frames of 4 KiB on slow links', 'isSlow ? SLOW_DATA_BYTES :', `${NEVER} ? SLOW_DATA_BYTES :`],
    [
      'one that floods is not interactive',
      'queue === this.#bulk || connection.isInteractive(this.#now())',
      'queue.length > 0',
    ],
    [
      'an unread queue holds no connections that are over',
      'if (this.length > 2 * open + LEAST_DEAD) this.#dropDead();',
      '',
    ],
    [
      'few bytes that a filled frame has left wait for more',
      'return available < LEAST_DATA_BYTES &&',
      `return ${NEVER} &&`,
    ],
  ]),
  ...group('connection.ts', [
    [
      'limits are renewed',
      'if (this.window.consume(bytes, now, roundTripMs)) this.#owner.owesLimit(this);',
      'void now; void roundTripMs;',
    ],
    ['64 KiB written ahead', 'if (this.queuedBytes >= WRITE_AHEAD_BYTES) this.#needsDrain = true;', ''],
    ['drained when there is room again', 'if (!this.isOver) this.events.drained();', ''],
    [
      'END after all data',
      'this.hasEnded && !this.endSent && this.queuedBytes === 0',
      'this.hasEnded && !this.endSent',
    ],
    [
      'a connection that sent something does not move',
      'this.isOpening && (isUntouched || this.owesAnswer || this.id > highestTaken)',
      'this.isOpening',
    ],
  ]),
  ...group('receive-windows.ts', [
    [
      'LIMIT at half, not for each frame',
      'if (this.#limit - this.#consumed > Math.min(this.#bytes, this.#windows.share) / 2) return false;',
      '',
    ],
    ['LIMIT at half of the share', 'Math.min(this.#bytes, this.#windows.share) / 2', 'this.#bytes / 2'],
    ['LIMIT on consumption, not on receipt', 'this.#consumed += bytes;', 'this.#consumed = this.#received;'],
    ['windows grow', 'this.#bytes *= 2;', ''],
    ['windows grow within 8 MiB', ' || this.#sum + bytes > FREE_BYTES', ''],
    ['windows have 4 MiB at most', 'bytes * 2 > MAX_BYTES ||', ''],
    ['first windows within 8 MiB', 'this.#sum + FIRST_BYTES <= FREE_BYTES &&', ''],
    ['windows from the budget', ' && this.#budget.take(FIRST_BYTES)', ''],
    [
      'no renewal above the share',
      'this.#consumed + Math.min(this.#bytes, this.#windows.share)',
      'this.#consumed + this.#bytes',
    ],
    ['the memory of windows is given back', 'this.#budget.give(fromBudget);', ''],
  ]),
  ...group('open-rate.ts', [
    ['OPEN and RESET: burst of 1,000', 'return this.#tokens >= 1;', 'return true;'],
    ['OPEN and RESET: 200 a second', 'const PER_SECOND = 200;', 'const PER_SECOND = 2_000;'],
  ]),
  ...group('ack-timing.ts', [
    ['the rate decides how much is acknowledged at once', 'ackBytesOf(this.#bytes / elapsed)', 'ackBytesOf(0)'],
  ]),
  ...group('in-flight.ts', [
    [
      '1.3 times bandwidth × delay beside interactive connections',
      'hasInteractive ? INTERACTIVE_GAIN : BULK_GAIN',
      'BULK_GAIN',
    ],
    ['two steps of ACK beyond it', ' + 2 * step', ''],
    [
      'samples limited by the program do not count',
      'if (isProgramLimited && rate < this.rate) return;',
      'if (isProgramLimited) this.#rate = rate;',
    ],
    [
      'the first part of a message is measured',
      'if (offset > from) last = sample;\n      if (sample.offset > offset) break;',
      'if (sample.offset > offset) break;\n      last = sample;',
    ],
    ['rates are forgotten', 'this.#formerRate = this.#rate;', 'this.#formerRate = this.rate;'],
    [
      'ACK each 256 KiB on very fast links',
      'if (rate >= VERY_FAST_BYTES_PER_MS) return 262_144;',
      'if (rate >= VERY_FAST_BYTES_PER_MS) return 65_536;',
    ],
    [
      'ACK each 16 KiB on slow links',
      'return rate >= FAST_BYTES_PER_MS ? 65_536 : 16_384;',
      'return rate >= FAST_BYTES_PER_MS ? 65_536 : 65_535;',
    ],
    [
      'a round trip that became much longer is measured anew',
      'this.#isProbing = true;',
      'this.#isProbing = this.#isProbing;',
    ],
  ]),
];
