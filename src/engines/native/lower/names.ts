export { Names } from '../nest/names';
