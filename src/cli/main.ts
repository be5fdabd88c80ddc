import { version } from '../index';

console.log(version);
