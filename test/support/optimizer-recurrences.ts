/**
 * Optimizers in float64, each written from the listing of its paper, one number or one tensor at a time. Steps are
 * counted by t from 0; the papers count from 1.
 */

/** One tensor under an optimizer: its numbers and their gradients at step t → the next numbers. */
export type TensorRecurrence = (x: readonly number[], g: readonly number[], t: number) => number[];
/** A fresh recurrence for a tensor of this shape. */
export type Recurrence = (shape: readonly number[]) => TensorRecurrence;
/** A number, or a schedule. */
type Rate = number | ((t: number) => number);

const at = (rate: Rate, t: number): number => (typeof rate === 'number' ? rate : rate(t));

/** An optimizer that treats every number by itself. */
export function elementwise(fresh: () => (x: number, g: number, t: number) => number): Recurrence {
  return () => {
    const each: ((x: number, g: number, t: number) => number)[] = [];
    return (xs, gs, t) =>
      xs.map((x, i) => {
        each[i] ??= fresh();
        return each[i](x, gs[i], t);
      });
  };
}

export function heavyBall(alpha: Rate, momentum: Rate, nesterov: boolean): Recurrence {
  return elementwise(() => {
    let v = 0;
    return (x, g, t) => {
      const mu = at(momentum, t);
      v = mu * v + g;
      return x - at(alpha, t) * (nesterov ? g + mu * v : v);
    };
  });
}

/** Kingma, Ba 2015, Alg. 1; the decay of Loshchilov, Hutter 2019, Alg. 2. */
export function adam(alpha: number, b1: number, b2: number, eps: number, lambda: number): Recurrence {
  return elementwise(() => {
    let [m, v] = [0, 0];
    return (x, g, t) => {
      m = b1 * m + (1 - b1) * g;
      v = b2 * v + (1 - b2) * g * g;
      const step = m / (1 - b1 ** (t + 1)) / (Math.sqrt(v / (1 - b2 ** (t + 1))) + eps);
      return x - alpha * (step + lambda * x);
    };
  });
}

/** Tieleman, Hinton 2012, with the ε of Graves 2013, and its momentum. */
export function rmsProp(alpha: number, rho: number, mu: number, eps: number): Recurrence {
  return elementwise(() => {
    let [meanSquare, delta] = [0, 0];
    return (x, g) => {
      meanSquare = rho * meanSquare + (1 - rho) * g ** 2;
      delta = mu * delta - (alpha * g) / Math.sqrt(meanSquare + eps);
      return x + delta;
    };
  });
}

/** Graves 2013, "Generating sequences with recurrent neural networks", eq. 38–41. */
export function graves(alpha: number, rho: number, mu: number, eps: number): Recurrence {
  return elementwise(() => {
    let [n, mean, delta] = [0, 0, 0];
    return (x, g) => {
      n = rho * n + (1 - rho) * g ** 2;
      mean = rho * mean + (1 - rho) * g;
      delta = mu * delta - alpha * (g / Math.sqrt(n - mean ** 2 + eps));
      return x + delta;
    };
  });
}

/** Duchi, Hazan, Singer 2011, Fig. 1: H = δI + diag(G)^½ of the composite mirror descent update without a regulariser. */
export function adagrad(eta: number, delta: number, initial: number): Recurrence {
  return elementwise(() => {
    const squares = [initial];
    return (x, g) => {
      squares.push(g * g);
      return x - (eta * g) / (delta + Math.sqrt(squares.reduce((a, b) => a + b)));
    };
  });
}

/** Dozat 2016, Alg. 2 with a constant μ: its products of μ are powers. Decay as in AdamW. */
export function nadamW(alpha: number, mu: number, nu: number, eps: number, lambda: number): Recurrence {
  return elementwise(() => {
    let [m, n] = [0, 0];
    return (x, g, t) => {
      const k = t + 1;
      const unbiasedGradient = g / (1 - mu ** k);
      m = mu * m + (1 - mu) * g;
      const mHat = m / (1 - mu ** (k + 1));
      n = nu * n + (1 - nu) * g ** 2;
      const nHat = n / (1 - nu ** k);
      const bar = (1 - mu) * unbiasedGradient + mu * mHat;
      return x - alpha * (bar / (Math.sqrt(nHat) + eps)) - alpha * lambda * x;
    };
  });
}

/** Zhuang et al. 2020, Alg. 2. */
export function adaBelief(alpha: number, b1: number, b2: number, eps: number): Recurrence {
  return elementwise(() => {
    let [m, s] = [0, 0];
    return (x, g, t) => {
      m = b1 * m + (1 - b1) * g;
      s = b2 * s + (1 - b2) * (g - m) ** 2 + eps;
      const mHat = m / (1 - b1 ** (t + 1));
      const sHat = s / (1 - b2 ** (t + 1));
      return x - (alpha * mHat) / (Math.sqrt(sHat) + eps);
    };
  });
}

/** Zaheer et al. 2018, Alg. 2, with bias corrections and an initial v. */
export function yogi(alpha: number, b1: number, b2: number, eps: number, initial: number): Recurrence {
  return elementwise(() => {
    let [m, v] = [0, initial];
    return (x, g, t) => {
      m = b1 * m + (1 - b1) * g;
      v = v - (1 - b2) * Math.sign(v - g * g) * g * g;
      return x - (alpha * m) / (1 - b1 ** (t + 1)) / (Math.sqrt(v / (1 - b2 ** (t + 1))) + eps);
    };
  });
}

/** Liu et al. 2020, Alg. 2, with ε and the threshold as an argument. */
export function rAdam(alpha: number, b1: number, b2: number, eps: number, threshold: number): Recurrence {
  return elementwise(() => {
    let [m, v] = [0, 0];
    const rhoInfinity = 2 / (1 - b2) - 1;
    return (x, g, t0) => {
      const t = t0 + 1;
      v = b2 * v + (1 - b2) * g ** 2;
      m = b1 * m + (1 - b1) * g;
      const mHat = m / (1 - b1 ** t);
      const rho = rhoInfinity - (2 * t * b2 ** t) / (1 - b2 ** t);
      if (rho <= threshold) return x - alpha * mHat;
      const r = Math.sqrt(((rho - 4) * (rho - 2) * rhoInfinity) / ((rhoInfinity - 4) * (rhoInfinity - 2) * rho));
      return x - alpha * r * (mHat / (Math.sqrt(v / (1 - b2 ** t)) + eps));
    };
  });
}

/** Chen et al. 2023, Alg. 2. */
export function lion(eta: number, b1: number, b2: number, lambda: number): Recurrence {
  return elementwise(() => {
    let m = 0;
    return (x, g) => {
      const c = b1 * m + (1 - b1) * g;
      m = b2 * m + (1 - b2) * g;
      return x - eta * (Math.sign(c) + lambda * x);
    };
  });
}

const norm = (x: readonly number[]): number => Math.sqrt(x.reduce((sum, value) => sum + value ** 2, 0));

/** You, Gitman, Ginsburg 2017, Alg. 1. */
export function lars(gamma: number, momentum: number, beta: number, eta: number): Recurrence {
  return () => {
    let v: number[] | undefined;
    return (w, g) => {
      const denominator = norm(g) + beta * norm(w);
      const lambda = norm(w) === 0 || denominator === 0 ? 1 : (eta * norm(w)) / denominator;
      v = w.map((wi, i) => momentum * (v?.[i] ?? 0) + gamma * lambda * (g[i] + beta * wi));
      return w.map((wi, i) => wi - v![i]);
    };
  };
}

/** You et al. 2020, Alg. 2, with φ(z) = z. */
export function lamb(eta: number, b1: number, b2: number, eps: number, lambda: number): Recurrence {
  return (shape) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const m = new Array<number>(size).fill(0);
    const v = new Array<number>(size).fill(0);
    return (x, g, t) => {
      const update = x.map((xi, i) => {
        m[i] = b1 * m[i] + (1 - b1) * g[i];
        v[i] = b2 * v[i] + (1 - b2) * g[i] ** 2;
        const r = m[i] / (1 - b1 ** (t + 1)) / (Math.sqrt(v[i] / (1 - b2 ** (t + 1))) + eps);
        return r + lambda * xi;
      });
      const ratio = norm(x) === 0 || norm(update) === 0 ? 1 : norm(x) / norm(update);
      return x.map((xi, i) => xi - eta * ratio * update[i]);
    };
  };
}

/**
 * Shazeer, Stern 2018, Alg. 4 for each matrix of the last two axes, Alg. 5 for scalars and vectors; RMS over the whole
 * tensor. R and C are sums, as in the paper.
 */
export function adafactor(rate: number, c: number, eps1: number, eps2: number, d: number): Recurrence {
  const rms = (x: readonly number[]): number => norm(x) / Math.sqrt(x.length);
  return (shape) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const [rows, columns] = shape.length < 2 ? [1, size] : shape.slice(-2);
    const matrices = size / (rows * columns);
    const R = Array.from({ length: matrices }, () => new Array<number>(rows).fill(0));
    const C = Array.from({ length: matrices }, () => new Array<number>(columns).fill(0));
    const whole = new Array<number>(size).fill(0);
    return (x, g, t0) => {
      const t = t0 + 1;
      const beta = 1 - t ** -c;
      const alpha = Math.max(eps2, rms(x)) * Math.min(rate, 1 / Math.sqrt(t));
      const V = new Array<number>(size);
      const squares = g.map((value) => value ** 2 + eps1);
      if (shape.length < 2) {
        squares.forEach((square, i) => (V[i] = whole[i] = beta * whole[i] + (1 - beta) * square));
      } else {
        for (let k = 0; k < matrices; k++) {
          const place = (i: number, j: number): number => (k * rows + i) * columns + j;
          const sum = (count: number, of: (n: number) => number): number =>
            Array.from({ length: count }, (_, n) => of(n)).reduce((a, b) => a + b, 0);
          for (let i = 0; i < rows; i++) {
            R[k][i] = beta * R[k][i] + (1 - beta) * sum(columns, (j) => squares[place(i, j)]);
          }
          for (let j = 0; j < columns; j++) {
            C[k][j] = beta * C[k][j] + (1 - beta) * sum(rows, (i) => squares[place(i, j)]);
          }
          const total = R[k].reduce((a, b) => a + b, 0);
          for (let i = 0; i < rows; i++) {
            for (let j = 0; j < columns; j++) V[place(i, j)] = (R[k][i] * C[k][j]) / total;
          }
        }
      }
      const U = g.map((value, i) => value / Math.sqrt(V[i]));
      const clip = Math.max(1, rms(U) / d);
      return x.map((value, i) => value - (alpha * U[i]) / clip);
    };
  };
}
