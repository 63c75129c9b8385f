/**
 * Reusable buffers for messages that must be contiguous. Node joins the parts of a vectored TLS write in a new allocation of their whole size for each
 * write, which costs more than the copy itself.
 */
export class WriteBuffers {
  readonly #size: number;
  readonly #max: number;
  readonly #free: Buffer[] = [];

  /**
   * @param size bytes of each buffer
   * @param max buffers that are kept while they are not in use
   */
  constructor(size: number, max: number) {
    this.#size = size;
    this.#max = max;
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#size);
  }

  give(buffer: Buffer): void {
    if (this.#free.length < this.#max) this.#free.push(buffer);
  }
}
