import { type Command, Option } from 'commander';

/** ssh's own options of one letter that take a value, and those that take none (ssh(1)). `-l` is also ours. */
const WITH_VALUE = 'BbcDEeFIiJLmOoPpQRSWw';
const WITHOUT_VALUE = '46AaCfGgKkMNnqsTtvXxYy';

/**
 * Lets ssh's own options stand before the destination, as with ssh, and gives them in the order in which they were written, to be passed on.
 * @returns those of the command line that is parsed next
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
