export {
  traceFunction,
  traceGraph,
  traceInnerFunction,
  type TraceFor,
  type TraceFunctionOptions,
  type TraceRequest,
} from './function';
export { traceProblem, type TraceOptions } from './problem';
export { KERNEL_RULES } from './rules';
