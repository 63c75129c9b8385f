import { it } from 'vitest';
import { Child } from './child.ts';
import { collectGarbage, INSPECTABLE } from './garbage.ts';

it('has a Node program collect its garbage, each time that it is asked', async () => {
  const script = `
    const registry = new FinalizationRegistry((what) => process.stdout.write('collected ' + what + '\\n'));
    const leave = (what) => registry.register({}, what);
    leave('first');
    process.stdin.on('data', () => { leave('second'); process.stdout.write('left\\n'); });
    process.stdout.write('ready\\n');`;
  const child = new Child({ command: process.execPath, args: [...INSPECTABLE, '-e', script] }).readOutput();
  try {
    await child.ready(/ready/);
    await collectGarbage(child);
    await child.ready(/collected first/);
    child.process.stdin.write('x');
    await child.ready(/left/);
    await collectGarbage(child);
    await child.ready(/collected second/);
  } finally {
    await child.stop();
  }
});
