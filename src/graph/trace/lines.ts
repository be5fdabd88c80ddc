/** Finds the user's own source line on the stack, for messages. */
import { TraceError } from '../../contracts';

/** Deep enough to see past the frames of tfjs and its layers. */
const STACK_DEPTH = 200;

/** `    at name (file:line:column)` or `    at file:line:column`; V8's format. */
const FRAME = /^\s*at (?:.* \()?(?:async )?(?:file:\/\/)?(.+?):(\d+):(\d+)\)?$/;

/** A frame of a package; a source map may move one of tfjs out of node_modules. */
const PACKAGE = /[\\/]node_modules[\\/]|[\\/]tfjs(-[a-z]+)*[\\/]src[\\/]/;

interface Frame {
  readonly file: string;
  readonly location: string;
}

function framesOf(stack: string): Frame[] {
  return stack.split('\n').flatMap((text) => {
    const match = FRAME.exec(text);
    if (match === null) return [];
    const [, file, line, column] = match;
    return [{ file, location: `${file}:${line}:${column}` }];
  });
}

/** Calls `fn` with stacks deep enough for `userLine`; V8 keeps ten frames otherwise. */
export function withDeepStacks<R>(fn: () => R): R {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = Math.max(limit, STACK_DEPTH);
  try {
    return fn();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/** The folder of Outerloop's floors, found on a stack since a browser has no __dirname. */
function ownRoot(): string | undefined {
  const own = framesOf(new Error().stack ?? '').at(0)?.file;
  const at = own?.replaceAll('\\', '/').lastIndexOf('/graph/trace/') ?? -1;
  return at < 0 ? undefined : own?.slice(0, at + 1);
}

/** The innermost frame that is neither a package's nor Outerloop's own, as `file:line:column`. */
export function userLine(error: Error = new Error()): string | undefined {
  const root = ownRoot();
  const frame = framesOf(error.stack ?? '').find(
    ({ file }) =>
      !PACKAGE.test(file) &&
      !file.startsWith('node:') &&
      !file.startsWith('internal/') &&
      !file.startsWith('<') &&
      (root === undefined || !file.startsWith(root)),
  );
  return frame?.location;
}

/** A TraceError at the user's line. */
export function traceError(message: string): TraceError {
  return withDeepStacks(() => new TraceError(message, userLine()));
}
