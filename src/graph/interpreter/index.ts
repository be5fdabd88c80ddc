export { compileInterpreter, interpret, type CompiledInterpreter, type InterpreterOptions } from './interpreter';
export { INTERPRETER_RULES } from './rules';
export { stepContext, type InterpreterContext, type Value } from './value';
