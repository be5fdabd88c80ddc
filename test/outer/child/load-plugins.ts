/** Loads plugins that should fail, one after another, and prints what was thrown: `node … FILE …`. */
import { loadPlugin } from '../../../src/cli/plugin-loader';
import { createContainer } from '../../../src/container';
import type { OuterloopError } from '../../../src/contracts';

async function main(files: readonly string[]): Promise<void> {
  const errors: unknown[] = [];
  for (const file of files) {
    try {
      createContainer().use(await loadPlugin(file), file);
      errors.push({});
    } catch (error) {
      const { name, message, exitCode } = error as OuterloopError;
      errors.push({ name, message, exitCode });
    }
  }
  process.stdout.write(JSON.stringify(errors));
}

void main(process.argv.slice(2));
