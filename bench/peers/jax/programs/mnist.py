"""
Schedule of SGD with momentum on an MLP on MNIST (Vicol et al. 2021, §5.3): theta = (ln alpha_0, ln decay), each step a
training batch, the update, then the objective on a fresh validation batch.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np

from .base import WindowProgram, deviation, pair_keys, pair_noise, rows_of

TRAIN, ROWS = 50000, 60000
THETA = (float(np.log(0.003)), float(np.log(30.0)))
SIGMA, TIMESCALE, MOMENTUM = 0.1, 5000.0, 0.9
MEAN, STD = 0.13066, 0.30811


def load(folder):
    """Raw pixels [60000, 784] and labels [60000]; the last 10000 are the validation rows."""
    images = np.fromfile(os.path.join(folder, 'train-images-idx3-ubyte'), np.uint8)[16:].reshape(ROWS, 784)
    labels = np.fromfile(os.path.join(folder, 'train-labels-idx1-ubyte'), np.uint8)[8:].astype(np.int32)
    return images, labels


def logits_of(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def cross_entropy(logits, y):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1))


class Mnist(WindowProgram):
    horizon = 5000

    def __init__(self, particles, window, data, metric='loss', widths=(784, 100, 100, 10), batch=100):
        self.particles, self.steps, self.metric, self.batch = particles, window, metric, batch
        self.images, self.labels = load(data)
        # Decoded once, outside the window: the fastest form for JAX.
        images = jnp.asarray((self.images.astype(np.float32) / 255 - MEAN) / STD)
        labels = jnp.asarray(self.labels)
        self.keys = pair_keys(3, particles)

        def init(key):
            params = []
            for i, (m, n) in enumerate(zip(widths[:-1], widths[1:])):
                w = jax.random.normal(jax.random.fold_in(key, i), (m, n)) / np.sqrt(m)
                params.append((w, jnp.zeros(n)))
            return params

        params = jax.vmap(init)(self.keys)
        self.state = (params, jax.tree.map(jnp.zeros_like, params))

        def loss(params, x, y):
            return cross_entropy(logits_of(params, x), y)

        def step(theta, key, state, t):
            params, velocity = state
            rows = rows_of(key, t, 0, batch, 0, TRAIN)
            gradient = jax.grad(loss)(params, images[rows], labels[rows])
            rate = self.rate(theta, t, jnp)
            velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradient)
            params = jax.tree.map(lambda p, v: p - rate * v, params, velocity)
            rows = rows_of(key, t, 1, batch, TRAIN, ROWS)
            logits, y = logits_of(params, images[rows]), labels[rows]
            if metric == 'accuracy':
                value = -jnp.mean(jnp.argmax(logits, axis=1) == y)
            else:
                value = cross_entropy(logits, y)
            return (params, velocity), value

        def window_of(steps, keys):
            def one(theta, key, state, t0):
                def body(carry, i):
                    return step(theta, key, carry, t0 + i)

                state, losses = jax.lax.scan(body, state, jnp.arange(steps))
                return state, losses

            def window(state, t0, key):
                thetas = jnp.asarray(THETA) + SIGMA * pair_noise(key, keys.shape[0], 2)
                return jax.vmap(one, in_axes=(0, 0, 0, None))(thetas, keys, state, t0)

            return window

        self.window_of, self.step = window_of, step
        self.window = window_of(window, self.keys)

    def rate(self, theta, t, xp):
        """The learning rate of step t; `xp` is jax.numpy or numpy."""
        return xp.exp(theta[0]) / (1 + t / TIMESCALE) ** xp.exp(theta[1])

    def check(self, steps=3):
        """Against a float64 loop in numpy, two particles."""
        key = jax.random.key(9)
        state = jax.tree.map(lambda leaf: leaf[:2], self.state)
        _, losses = jax.jit(self.window_of(steps, self.keys[:2]))(state, 0, key)
        thetas = np.asarray(THETA) + SIGMA * np.asarray(pair_noise(key, 2, 2), np.float64)
        expected = [self.numpy_losses(thetas[p], p, steps) for p in range(2)]
        return deviation(np.sum(losses, axis=1), np.sum(expected, axis=1))

    def numpy_losses(self, theta, p, steps):
        """The first losses of particle p in float64."""
        params = [[np.asarray(leaf[p], np.float64) for leaf in layer] for layer in self.state[0]]
        velocity = [[np.zeros_like(leaf) for leaf in layer] for layer in params]
        losses = []
        for t in range(steps):
            rows = np.asarray(rows_of(self.keys[p], t, 0, self.batch, 0, TRAIN))
            _, gradient = numpy_mlp(params, self.float64_images(rows), self.labels[rows])
            rate = self.rate(theta, t, np)
            for layer, moving, slopes in zip(params, velocity, gradient):
                for i in range(2):
                    moving[i] = MOMENTUM * moving[i] + slopes[i]
                    layer[i] = layer[i] - rate * moving[i]
            rows = np.asarray(rows_of(self.keys[p], t, 1, self.batch, TRAIN, ROWS))
            z, _ = numpy_mlp(params, self.float64_images(rows), self.labels[rows])
            losses.append(z[self.metric])
        return losses

    def float64_images(self, rows):
        return (self.images[rows].astype(np.float64) / 255 - MEAN) / STD


def numpy_mlp(params, x, y):
    """Loss, -accuracy and the gradient of the loss, layer by layer in float64; ReLU."""
    inputs, n = [x], len(y)
    for i, (w, b) in enumerate(params):
        z = inputs[-1] @ w + b
        inputs.append(np.maximum(z, 0) if i + 1 < len(params) else z)
    z = inputs[-1]
    shifted = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    picked = probabilities[np.arange(n), y]
    values = {'loss': -np.mean(np.log(picked)), 'accuracy': -np.mean(z.argmax(axis=1) == y)}
    delta = probabilities.copy()
    delta[np.arange(n), y] -= 1
    delta /= n
    gradient = []
    for i in reversed(range(len(params))):
        gradient.insert(0, (inputs[i].T @ delta, delta.sum(axis=0)))
        delta = (delta @ params[i][0].T) * (inputs[i] > 0)
    return values, gradient
