/** The `outerloop` command. */
import { runCommandLine } from './program';

// A reader that has seen enough (`outerloop list | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

// TensorFlow, where tfjs-node has brought it along, tells on standard error what processor it sees; errors still count.
process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';

void runCommandLine(process.argv.slice(2), { out: process.stdout, err: process.stderr }).then((code) => {
  process.exitCode = code;
});
