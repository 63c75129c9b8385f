import { type Command, Option } from 'commander';

/** ssh's one-letter options with a value, and those without (ssh(1)). `-l` is also an option of `culvert ssh`. */
const WITH_VALUE = 'BbcDEeFIiJLmOoPpQRSWw';
const WITHOUT_VALUE = '46AaCfGgKkMNnqsTtvXxYy';

/**
 * Accepts ssh's own options before the destination, as ssh does, and returns them in their order, to be passed to ssh.
 * @returns the arguments that remain to be parsed
 */
export function passSshOptions(command: Command): readonly string[] {
  const given: string[] = [];
  const declare = (letter: string, value: string, add: (text: string) => void): void => {
    command.addOption(new Option(`-${letter}${value}`).hideHelp());
    command.on(`option:${letter}`, add);
  };
  for (const letter of WITH_VALUE) declare(letter, ' <value>', (text) => given.push(`-${letter}`, text));
  for (const letter of WITHOUT_VALUE) declare(letter, '', () => given.push(`-${letter}`));
  return given;
}
