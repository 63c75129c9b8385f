/** Pieces kept as they came; a client that sends its bytes one by one gets one buffer instead of a list of thousands. */
const MAX_PIECES = 16;

/** The beginning of a unit that is not whole yet: at most one frame of 64 KiB, in few buffers however small its chunks were. */
export class HeldUnit {
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** The last piece, when it is a buffer with room for the whole rest of the unit. */
  #roomy: Buffer | undefined;

  /** Bytes held, header included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param left bytes of the unit that are still to come after `piece` */
  add(piece: Buffer, left: number): void {
    if (this.#roomy !== undefined) {
      piece.copy(this.#roomy, this.#bytes);
    } else {
      this.#pieces.push(piece);
      if (this.#pieces.length > MAX_PIECES) this.#gather(piece.length + left);
    }
    this.#bytes += piece.length;
  }

  /** Empties it: the pieces in order. */
  take(): readonly Buffer[] {
    if (this.#bytes === 0) return [];
    const pieces = this.#roomy === undefined ? this.#pieces : [this.#roomy.subarray(0, this.#bytes)];
    this.#pieces = [];
    this.#bytes = 0;
    this.#roomy = undefined;
    return pieces;
  }

  #gather(rest: number): void {
    const roomy = Buffer.allocUnsafeSlow(this.#bytes + rest);
    let at = 0;
    for (const piece of this.#pieces) at += piece.copy(roomy, at);
    this.#pieces = [];
    this.#roomy = roomy;
  }
}
