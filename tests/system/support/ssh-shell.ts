import type { Program } from './program.ts';

/** An interactive shell of a running `ssh -tt`. */
export class SshShell {
  readonly #program: Program;
  #questions = 0;

  /** @param program ssh, started with a terminal at the server */
  constructor(program: Program) {
    this.#program = program;
    program.child.stdin.write('PS1=; PS2=; stty -echo\n');
  }

  /** Runs a command in the shell, and returns the line that it prints. */
  async ask(command: string): Promise<string> {
    const number = ++this.#questions;
    // The marks are made by arithmetic: the terminal echoes the command itself, where they must not be found.
    this.#program.child.stdin.write(`echo "<$((${number} + 1000)) $(${command}) $((${number} + 1000))>"\n`);
    const mark = number + 1000;
    const [, answer = ''] = await this.#program.waitFor(new RegExp(`<${mark} (.*) ${mark}>`));
    return answer;
  }

  /** Returns what makes this login this one: the shell's process id, and the two ends of the TCP connection as sshd knows them. */
  identity(): Promise<string> {
    return this.ask('echo $$ $SSH_CONNECTION');
  }

  /** Ends the shell with an exit code, and returns the exit code of ssh. */
  async exit(code: number): Promise<number> {
    this.#program.child.stdin.write(`exit ${code}\n`);
    return (await this.#program.end()).code;
  }
}
