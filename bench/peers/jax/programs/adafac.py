"""
AdafacMLPLOpt (Metz et al. 2022, "Practical tradeoffs between memory, compute, and performance in learned optimizers"), 39
features, 4 and 4 hidden units, 197 weights, as the optimizer of an MLP, in the form that is fastest in JAX: each kind of
feature has its own rows of the first layer's weights and its product is added, so that no matrix of features is made; and
what is one number a row or column of a tensor is multiplied before it is spread.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .base import rows_of
from .lopt import EPSILON, SCALE, TIMES, Lopt, numpy_gelu_mlp

DECAYS = (0.9, 0.99, 0.999)
RMS_DECAY = 0.999
HIDDEN = 4
INPUTS = 39
SHAPES = ((INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (HIDDEN, 2), (2,), (3,), (1,), (3,))


def factored(shape):
    """The second largest axis and the largest, the later of equal ones as the larger; None below two axes."""
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda axis: (shape[axis], axis))
    return order[-2], order[-1]


def statistics(xp, p):
    """Zeros of the shapes of an accumulator's row and column means; of a vector, of all of it."""
    axes = factored(p.shape)
    if axes is None:
        return (xp.zeros_like(p),)
    return xp.zeros_like(xp.mean(p, axis=axes[1], keepdims=True)), xp.zeros_like(xp.mean(p, axis=axes[0], keepdims=True))


def rests(xp, first, offsets, bounded):
    """1 - d of each decay."""
    value = (1 - xp.asarray(first, offsets.dtype)) * xp.exp(10 * offsets)
    return xp.minimum(value, 1) if bounded else value


def features_of(xp, p, g, momenta, square, stats):
    """The 28 features of a tensor before they are normalised, in order; each broadcasts over the tensor."""
    root = 1 / xp.sqrt(square + 1e-6)
    bounded = lambda x: 1 / xp.sqrt(xp.maximum(x, 1e-9))
    axes = factored(p.shape)
    scaled, rows, columns, moved = [], [], [], []
    for m, stat in zip(momenta, stats):
        if axes is None:
            (full,) = stat
            scaled.append(g * bounded(full + 1e-9))
            moved.append(m / xp.sqrt(full + 1e-6))
            rows.append(full)
            columns.append(full)
        else:
            row, column = stat
            across = bounded(row / (xp.mean(row, axis=axes[0], keepdims=True) + 1e-9))
            along = bounded(column)
            scaled.append(g * across * along)
            moved.append(m * across * along)
            rows.append(row)
            columns.append(column)
    roots = lambda xs: [1 / xp.sqrt(x + 1e-8) for x in xs]
    return [g, p, *momenta, square, *[m * root for m in momenta], root, *scaled, *rows, *columns, *roots(rows), *roots(columns), *moved]


def next_statistics(xp, stat, g, rest):
    squared = g * g + 1e-30
    axes = factored(g.shape)
    means = (squared,) if axes is None else (
        xp.mean(squared, axis=axes[1], keepdims=True),
        xp.mean(squared, axis=axes[0], keepdims=True),
    )
    return tuple((1 - rest) * old + rest * new for old, new in zip(stat, means))


class Adafac(Lopt):
    def optimizer(self):
        """Shapes of theta, the state of fresh parameters of all particles, and the update (`Lopt` has the rest)."""

        def init(params):
            zeros = lambda: jax.tree.map(jnp.zeros_like, params)
            one = jax.vmap(lambda p: statistics(jnp, p))
            stats = [[one(p) for p in jax.tree.leaves(params)] for _ in DECAYS]
            return [zeros() for _ in DECAYS], zeros(), stats

        def one(net, t, p, g, momenta, square, stats):
            w1, b1, w2, b2, w3, b3 = net[:6]
            time = jnp.tanh(t / jnp.asarray(TIMES, jnp.float32) - 1)
            hidden = [b1[k] + time @ w1[28:, k] for k in range(HIDDEN)]
            for i, x in enumerate(features_of(jnp, p, g, momenta, square, stats)):
                x = x * jax.lax.rsqrt(jnp.mean(x * x) + EPSILON)
                hidden = [h + x * w1[i, k] for k, h in enumerate(hidden)]
            hidden = [jax.nn.relu(h) for h in hidden]
            hidden = [jax.nn.relu(sum((h * w2[j, k] for j, h in enumerate(hidden)), b2[k])) for k in range(HIDDEN)]
            direction, magnitude = (sum((h * w3[j, k] for j, h in enumerate(hidden)), b3[k]) for k in range(2))
            return p - SCALE * direction * jnp.exp(SCALE * magnitude)

        def update(net, t, params, gradient, state):
            momenta, squares, stats = state
            leaves, structure = jax.tree.flatten(params)
            gradients = jax.tree.leaves(gradient)
            by_momentum = rests(jnp, DECAYS, net[6], False)
            momenta = [
                jax.tree.map(lambda m, g: (1 - rest) * m + rest * g, old, gradient) for rest, old in zip(by_momentum, momenta)
            ]
            (rest,) = rests(jnp, (RMS_DECAY,), net[7], True)
            squares = jax.tree.map(lambda v, g: (1 - rest) * v + rest * g * g, squares, gradient)
            stats = [
                [next_statistics(jnp, stat, g, rest) for stat, g in zip(old, gradients)]
                for rest, old in zip(rests(jnp, DECAYS, net[8], True), stats)
            ]
            flat_momenta, flat_squares = [jax.tree.leaves(m) for m in momenta], jax.tree.leaves(squares)
            after = [
                one(net, t, p, g, [m[i] for m in flat_momenta], flat_squares[i], [stat[i] for stat in stats])
                for i, (p, g) in enumerate(zip(leaves, gradients))
            ]
            return jax.tree.unflatten(structure, after), (momenta, squares, stats)

        return SHAPES, init, update

    def numpy_losses(self, theta, p, steps):
        """The first losses of particle p in float64, with the matrix of features written out."""
        net = self.unflatten(theta)
        params = [np.asarray(leaf[p], np.float64) for layer in self.state[0] for leaf in layer]
        momenta = [[np.zeros_like(leaf) for leaf in params] for _ in DECAYS]
        squares = [np.zeros_like(leaf) for leaf in params]
        stats = [[statistics(np, leaf) for leaf in params] for _ in DECAYS]
        losses = []
        for t in range(steps):
            rows = np.asarray(rows_of(self.keys[p], t, 0, self.batch, 0, self.train))
            _, gradient = numpy_gelu_mlp(params, self.images[rows].astype(np.float64), self.labels[rows])
            time = np.tanh(t / np.asarray(TIMES) - 1)
            (rest,) = rests(np, (RMS_DECAY,), net[7], True)
            for i, g in enumerate(gradient):
                for rest_m, rest_s, m, s in zip(rests(np, DECAYS, net[6], False), rests(np, DECAYS, net[8], True), momenta, stats):
                    m[i] = (1 - rest_m) * m[i] + rest_m * g
                    s[i] = next_statistics(np, s[i], g, rest_s)
                squares[i] = (1 - rest) * squares[i] + rest * g * g
                own = features_of(np, params[i], g, [m[i] for m in momenta], squares[i], [s[i] for s in stats])
                columns = [np.broadcast_to(x / np.sqrt(EPSILON + np.mean(x * x)), g.shape).reshape(-1) for x in own]
                x = np.column_stack([*columns, np.tile(time, (g.size, 1))])
                out = np.maximum(np.maximum(x @ net[0] + net[1], 0) @ net[2] + net[3], 0) @ net[4] + net[5]
                params[i] = params[i] - (SCALE * out[:, 0] * np.exp(SCALE * out[:, 1])).reshape(g.shape)
            rows = np.asarray(rows_of(self.keys[p], t, 1, self.batch, self.train, 60000))
            losses.append(numpy_gelu_mlp(params, self.images[rows].astype(np.float64), self.labels[rows])[0])
        return losses
