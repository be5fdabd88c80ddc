/**
 * Plugins from files. TypeScript is compiled by ts-node with swc (types are not checked). Wherever a plugin lies,
 * `outerloop` and `@tensorflow/tfjs` are for it the very modules that this process runs with: a second TensorFlow.js
 * would have tensors and backends of its own.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { extname, isAbsolute, join, relative, resolve } from 'node:path';
import { create } from 'ts-node';
import { OuterloopError, PluginError, type Plugin } from '../contracts';

const TFJS = '@tensorflow/tfjs';
const EXTENSIONS = ['.ts', '.cts', '.js', '.cjs'];
const HOOKED = Symbol.for('outerloop.plugin-resolution');

interface LoadedModule {
  _compile(code: string, filename: string): void;
}
interface ModuleInternals {
  _resolveFilename: ((request: string, ...rest: unknown[]) => string) & { [HOOKED]?: true };
  readonly _extensions: Record<string, ((module: LoadedModule, filename: string) => void) | undefined>;
  readonly _cache: Readonly<Record<string, unknown>>;
}
/** The parts of Node's CommonJS loader that ts-node and every other compiling loader use. */
const loader = Module as unknown as ModuleInternals;

const here = createRequire(__filename);

/** Our own file for a package, or undefined if we have none. */
function ours(request: string): string | undefined {
  if (request === 'outerloop') return here.resolve('../index');
  if (request !== TFJS && !/^@tensorflow\/tfjs-(core|layers|data|converter|backend-[a-z]+)(\/.*)?$/.test(request)) {
    return undefined;
  }
  try {
    return here.resolve(request);
  } catch {
    return undefined;
  }
}

/** Once a process: plugins may require more at any later time. */
function shareModules(): void {
  const original = loader._resolveFilename;
  if (original[HOOKED] === true) return;
  const shared: ModuleInternals['_resolveFilename'] = (request, ...rest) => {
    const own = ours(request);
    if (own !== undefined) return own;
    try {
      return original.call(Module, request, ...rest);
    } catch (error) {
      // Options are declared with zod, which a plugin in an empty folder has not installed.
      if (request === 'zod') return here.resolve(request);
      throw error;
    }
  };
  shared[HOOKED] = true;
  loader._resolveFilename = shared;
}

/** Lets `require` compile TypeScript, unless something (ts-node itself) does so already. */
function compileTypeScript(): void {
  if (loader._extensions['.ts'] !== undefined) return;
  const service = create({
    cwd: __dirname,
    skipProject: true,
    transpileOnly: true,
    swc: true,
    compilerOptions: { module: 'commonjs', target: 'es2022', esModuleInterop: true },
  });
  // Not ts-node's own hook: it follows "type": "module" of the package.json that happens to lie above the plugin.
  const compile = (module: LoadedModule, filename: string): void =>
    module._compile(service.compile(readFileSync(filename, 'utf8'), filename), filename);
  loader._extensions['.ts'] = compile;
  loader._extensions['.cts'] = compile;
}

/** Files of a package's main module that are loaded. */
function loadedInstances(packageName: string): string[] {
  const main = join('node_modules', ...packageName.split('/'), 'dist');
  return Object.keys(loader._cache).filter((file) => file.includes(main) && /tf(-core)?\.node\.js$/.test(file));
}

const ANSI = /\u001b\[[0-9;]*m/g;

/** The sentence of an error, on one line, and where in the plugin it happened. */
function explain(error: unknown, file: string): string {
  if (!(error instanceof Error)) return String(error);
  const text = error.message.replace(ANSI, '');
  // swc draws "× Expected ';'", then a frame headed "╭─[file:line:1]": the line counts, the column never does.
  const syntax = /^\s*[×x]\s*(.+)$/m.exec(text)?.[1];
  const frame = /\[([^\]\n]+:\d+):\d+\]/.exec(text)?.[1];
  if (syntax !== undefined) return frame === undefined ? syntax : `${syntax.replace(/\.$/, '')} (at ${shown(frame)})`;
  // Node puts the place of a JavaScript syntax error first.
  const head = new RegExp(`^(${escaped(file)}:\\d+)$`, 'm').exec(error.stack ?? '')?.[1];
  if (error instanceof SyntaxError && head !== undefined) return `${text.split('\n')[0]} (at ${shown(head)})`;
  const line = (error.stack ?? '').split('\n').find((frameLine) => frameLine.includes(file));
  const place = line === undefined ? undefined : /\(?([^()\s]+:\d+:\d+)\)?$/.exec(line)?.[1];
  const message = text.split('\n')[0].replace(/\.$/, '');
  return place === undefined ? message : `${message} (at ${shown(place)})`;
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near.startsWith('..') || isAbsolute(near) ? path : near;
}

/** From here on `require` takes TypeScript, and `outerloop` and TensorFlow.js are this process' own. */
export function registerTypeScript(): void {
  shareModules();
  compileTypeScript();
}

/**
 * Loads `export const plugin = definePlugin(…)` from a .ts or .js file, a path relative to the working folder.
 * @throws PluginError if it is missing, does not compile, fails, or exports no plugin
 */
export function loadPlugin(file: string): Promise<Plugin> {
  try {
    return Promise.resolve(load(file));
  } catch (error) {
    return Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}

function load(file: string): Plugin {
  const path = resolve(file);
  if (!existsSync(path)) throw new PluginError(`plugin ${file}: there is no such file.`);
  if (!statSync(path).isFile()) throw new PluginError(`plugin ${file} is no file; name the .ts or .js file.`);
  if (!EXTENSIONS.includes(extname(path))) {
    throw new PluginError(`plugin ${file}: expected a file named ${EXTENSIONS.join(', ')}, got "${extname(path)}".`);
  }
  registerTypeScript();
  const before = new Set([...loadedInstances(TFJS), ...loadedInstances(`${TFJS}-core`)]);
  let exported: unknown;
  try {
    exported = here(path);
  } catch (error) {
    if (error instanceof OuterloopError) {
      throw new PluginError(`plugin ${file} fails while it loads: ${error.message}`, { cause: error });
    }
    if ((error as NodeJS.ErrnoException).code === 'ERR_REQUIRE_ESM') {
      throw new PluginError(
        `plugin ${file} is an ES module, which cannot share Outerloop's modules. Name it .ts or .cts.`,
        {
          cause: error,
        },
      );
    }
    const isSyntax =
      error instanceof SyntaxError || /[×x]\s/.test((error as Error).message.replace(ANSI, '').slice(0, 8));
    const what = isSyntax ? 'does not compile' : 'fails while it loads';
    throw new PluginError(`plugin ${file} ${what}: ${explain(error, path)}.`, { cause: error });
  }
  const own = [TFJS, `${TFJS}-core`].map((name) => here.resolve(name));
  const second = [...loadedInstances(TFJS), ...loadedInstances(`${TFJS}-core`)].find(
    (loaded) => !before.has(loaded) && !own.includes(loaded),
  );
  if (second !== undefined) {
    throw new PluginError(
      `plugin ${file} loads a second TensorFlow.js (${shown(second)}), whose tensors Outerloop cannot use. ` +
        `Import "${TFJS}" by that name, and take the other one out.`,
    );
  }
  return pluginOf(exported, file);
}

function pluginOf(exported: unknown, file: string): Plugin {
  const values: Readonly<Record<string, unknown>> = typeof exported === 'object' ? { ...exported } : {};
  const { plugin } = values;
  if (plugin === undefined) {
    const names = Object.keys(values);
    const got = names.length === 0 ? 'exports nothing' : `exports ${names.join(', ')} but no "plugin"`;
    throw new PluginError(`plugin ${file} ${got}; expected \`export const plugin = definePlugin(…)\`.`);
  }
  if (!isPlugin(plugin)) throw new PluginError(`plugin ${file}: its "plugin" is not what definePlugin(…) returns.`);
  return plugin;
}

function isPlugin(value: unknown): value is Plugin {
  return typeof value === 'object' && value !== null && 'outerloopPlugin' in value && value.outerloopPlugin === 1;
}
