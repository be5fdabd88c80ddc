import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

/**
 * The folder of fetched data sets: OUTERLOOP_DATA; or `data` in OUTERLOOP_CACHE, XDG_CACHE_HOME/outerloop or
 * ~/.cache/outerloop, where compiled code is kept too. Relative paths of the two caches do not count.
 */
export function dataFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { OUTERLOOP_DATA: data = '', OUTERLOOP_CACHE: own = '', XDG_CACHE_HOME: xdg = '' } = environment;
  if (data !== '') return resolve(data);
  if (isAbsolute(own)) return join(own, 'data');
  return join(isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'outerloop', 'data');
}
