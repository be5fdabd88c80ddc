/** `require('outerloop/register')`: Node loads plugins written in TypeScript, as `--plugin` does. For tests of plugins. */
import { registerTypeScript } from './plugin-loader';

registerTypeScript();
