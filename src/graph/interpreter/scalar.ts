/** The functions of one or two numbers that JavaScript lacks. */

/**
 * Error function to about 1 ulp. |x| < 3 by 2/√π·e^{−x²}·Σ 2ⁿx^{2n+1}/(2n+1)!! (Abramowitz and Stegun 7.1.6, all terms
 * of one sign), larger by the continued fraction of erfc (7.1.14).
 */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  // erfc(6) is below half an ulp of 1.
  if (a >= 6) return Math.sign(x);
  if (Number.isNaN(a)) return NaN;
  let fraction = 0;
  for (let k = 60; k >= 1; k--) fraction = k / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** Half to even; keeps −0, NaN and infinities. */
export function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  // An infinity has a rest of NaN.
  if (!(rest > 0)) return x;
  if (rest < 0.5 || (rest === 0.5 && floor % 2 === 0)) return floor;
  return x < 0 && x >= -0.5 ? -0 : floor + 1;
}

/** The remainder with the sign of the divisor, also when it is zero; exact. */
export function floorMod(x: number, y: number): number {
  const rest = x % y;
  if (rest === 0) return y < 0 ? -0 : 0;
  return rest < 0 === y < 0 ? rest : rest + y;
}

/** Floor division of int32; by zero 0. */
export function intDiv(x: number, y: number): number {
  return y === 0 ? 0 : Math.floor(x / y);
}

/** Remainder of floor division; by zero 0. */
export function intMod(x: number, y: number): number {
  return y === 0 ? 0 : floorMod(x, y);
}

/** Toward zero; saturates, NaN gives 0. */
export function toInt32(x: number): number {
  if (Number.isNaN(x)) return 0;
  return x >= 2147483647 ? 2147483647 : x <= -2147483648 ? -2147483648 : x | 0;
}
