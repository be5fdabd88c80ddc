"""
Schedule of SGD with momentum on a convolutional network for CIFAR-10: four layers of 3 x 3 taps and 32 channels, the first
of stride 2, ReLU, the mean over all places, a linear layer. Each step a training batch, the update, then the loss of a fresh
validation batch.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .base import WindowProgram, deviation, pair_keys, pair_noise, rows_of
from .mnist import MOMENTUM, SIGMA, THETA, TIMESCALE, cross_entropy

TRAIN, ROWS = 8000, 10000
CLASSES = 10


def convolution(x, w, stride):
    """XLA's own; of particles with weights of their own it makes a grouped one."""
    return jax.lax.conv_general_dilated(x, w, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def patches_product(x, w, stride):
    """Patches written out, and one product."""
    n, height, width, _ = x.shape
    taps, _, inputs, outputs = w.shape
    rows, columns = -(-height // stride), -(-width // stride)
    low = [((out - 1) * stride + taps - extent) for out, extent in ((rows, height), (columns, width))]
    padded = jnp.pad(x, ((0, 0), (low[0] // 2, low[0] - low[0] // 2), (low[1] // 2, low[1] - low[1] // 2), (0, 0)))
    seen = [
        padded[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
        for i in range(taps)
        for j in range(taps)
    ]
    patches = jnp.stack(seen, axis=3).reshape(n * rows * columns, taps * taps * inputs)
    return (patches @ w.reshape(taps * taps * inputs, outputs)).reshape(n, rows, columns, outputs)


FORMS = {'convolution': convolution, 'patches': patches_product}


def logits_of(params, x, form):
    for i, (w, b) in enumerate(params[:-1]):
        x = jax.nn.relu(form(x, w, 2 if i == 0 else 1) + b)
    w, b = params[-1]
    return jnp.mean(x, axis=(1, 2)) @ w + b


class Conv(WindowProgram):
    horizon = 5000

    def __init__(self, particles, window, form='patches', channels=(3, 32, 32, 32, 32), batch=32, data=None):
        self.particles, self.steps, self.batch, self.form = particles, window, batch, form
        draw = np.random.default_rng(0)
        images = draw.random((ROWS, 32, 32, channels[0]), np.float32)
        labels = draw.integers(0, CLASSES, ROWS).astype(np.int32)
        self.images, self.labels = images, labels
        images, labels = jnp.asarray(images), jnp.asarray(labels)
        self.keys = pair_keys(3, particles)

        def init(key):
            shapes = [(3, 3, m, n) for m, n in zip(channels[:-1], channels[1:])] + [(channels[-1], CLASSES)]
            keys = [jax.random.fold_in(key, i) for i in range(len(shapes))]
            draws = [jax.random.normal(k, s) * np.sqrt(2 / np.prod(s[:-1])) for k, s in zip(keys, shapes)]
            return [(w, jnp.zeros(w.shape[-1])) for w in draws]

        params = jax.vmap(init)(self.keys)
        self.state = (params, jax.tree.map(jnp.zeros_like, params))

        def loss(params, x, y):
            return cross_entropy(logits_of(params, x, FORMS[form]), y)

        def step(theta, key, state, t):
            params, velocity = state
            rows = rows_of(key, t, 0, batch, 0, TRAIN)
            gradient = jax.grad(loss)(params, images[rows], labels[rows])
            rate = jnp.exp(theta[0]) / (1 + t / TIMESCALE) ** jnp.exp(theta[1])
            velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradient)
            params = jax.tree.map(lambda p, v: p - rate * v, params, velocity)
            rows = rows_of(key, t, 1, batch, TRAIN, ROWS)
            return (params, velocity), loss(params, images[rows], labels[rows])

        def window_of(steps, keys):
            def one(theta, key, state, t0):
                return jax.lax.scan(lambda carry, i: step(theta, key, carry, t0 + i), state, jnp.arange(steps))

            def window(state, t0, key):
                thetas = jnp.asarray(THETA) + SIGMA * pair_noise(key, keys.shape[0], 2)
                return jax.vmap(one, in_axes=(0, 0, 0, None))(thetas, keys, state, t0)

            return window

        self.window_of = window_of
        self.window = window_of(window, self.keys)

    def check(self):
        """The loss after the first update, of two particles, against numpy in float64."""
        key = jax.random.key(9)
        state = jax.tree.map(lambda leaf: leaf[:2], self.state)
        (after, _), losses = jax.jit(self.window_of(1, self.keys[:2]))(state, 0, key)
        expected = []
        for p in range(2):
            rows = np.asarray(rows_of(self.keys[p], 0, 1, self.batch, TRAIN, ROWS))
            params = [[np.asarray(leaf[p], np.float64) for leaf in layer] for layer in after]
            expected.append(numpy_loss(params, self.images[rows].astype(np.float64), self.labels[rows]))
        return deviation(np.asarray(losses)[:, 0], expected)


def numpy_loss(params, x, y):
    """Mean cross-entropy in float64, tap by tap."""
    for i, (w, b) in enumerate(params[:-1]):
        stride = 2 if i == 0 else 1
        n, height, width, _ = x.shape
        rows, columns = -(-height // stride), -(-width // stride)
        low = (rows - 1) * stride + 3 - height
        padded = np.zeros((n, height + 2, width + 2, x.shape[3]))
        first = low // 2
        padded[:, first : first + height, first : first + width] = x
        z = np.zeros((n, rows, columns, w.shape[3])) + b
        for p in range(3):
            for q in range(3):
                z += padded[:, p : p + rows * stride : stride, q : q + columns * stride : stride] @ w[p, q]
        x = np.maximum(z, 0)
    w, b = params[-1]
    z = x.mean(axis=(1, 2)) @ w + b
    z = z - z.max(axis=1, keepdims=True)
    return -np.mean(z[np.arange(len(y)), y] - np.log(np.exp(z).sum(axis=1)))
