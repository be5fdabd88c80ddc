"""
A per-parameter MLP optimizer 19-32-32-2 on an MLP (Metz et al. 2022 as set in Li et al. 2023, §5.2): gradient, parameter
and six momenta, each divided by its root mean square over the tensor, and eleven time features.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .base import WindowProgram, deviation, pair_keys, pair_noise, rows_of
from .mnist import cross_entropy, load

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIMES = (1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5)
SHAPES = ((19, 32), (32,), (32, 32), (32,), (32, 2), (2,))
SIGMA, EPSILON, SCALE = 0.01, 1e-5, 0.001


def gelu(x):
    """The tanh form."""
    return 0.5 * x * (1 + jnp.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)))


def logits_of(params, x):
    for w, b in params[:-1]:
        x = gelu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


class Lopt(WindowProgram):
    horizon = 1000

    def __init__(self, particles, window, data=None, widths=(64, 32, 32, 32, 10), batch=128):
        self.particles, self.steps, self.batch, self.widths = particles, window, batch, tuple(widths)
        if widths[0] == 784:
            raw, labels = load(data)
            images = (raw.astype(np.float32) / 255).reshape(60000, 784)
            self.train = 50000
        else:
            # Any numbers will do: of the shape of Fashion-MNIST resized to 8 x 8.
            draw = np.random.default_rng(0)
            images = draw.random((60000, widths[0]), np.float32)
            labels = draw.integers(0, 10, 60000).astype(np.int32)
            self.train = 48000
        self.images, self.labels = images, labels
        train, images, labels = self.train, jnp.asarray(images), jnp.asarray(labels)
        self.keys = pair_keys(3, particles)

        def init(key):
            params = []
            for i, (m, n) in enumerate(zip(widths[:-1], widths[1:])):
                params.append((jax.random.normal(jax.random.fold_in(key, i), (m, n)) / np.sqrt(m), jnp.zeros(n)))
            return params

        shapes, fresh, update = self.optimizer()
        draws = [jax.random.normal(jax.random.fold_in(jax.random.key(2), i), s) for i, s in enumerate(shapes)]
        scaled = [d / np.sqrt(s[0]) if len(s) == 2 else 0 * d for d, s in zip(draws, shapes)]
        self.theta = jnp.concatenate([leaf.reshape(-1) for leaf in scaled])
        params = jax.vmap(init)(self.keys)
        self.state = (params, fresh(params))

        def unflatten(theta):
            leaves, at = [], 0
            for shape in shapes:
                size = int(np.prod(shape))
                leaves.append(theta[at : at + size].reshape(shape))
                at += size
            return leaves

        def loss(params, x, y):
            return cross_entropy(logits_of(params, x), y)

        def step(net, key, state, t):
            params, carried = state
            rows = rows_of(key, t, 0, batch, 0, train)
            gradient = jax.grad(loss)(params, images[rows], labels[rows])
            params, carried = update(net, t, params, gradient, carried)
            rows = rows_of(key, t, 1, batch, train, 60000)
            return (params, carried), loss(params, images[rows], labels[rows])

        def window_of(steps, keys):
            def one(theta, key, state, t0):
                net = unflatten(theta)
                return jax.lax.scan(lambda carry, i: step(net, key, carry, t0 + i), state, jnp.arange(steps))

            def window(state, t0, key):
                thetas = self.theta + SIGMA * pair_noise(key, keys.shape[0], self.theta.size)
                return jax.vmap(one, in_axes=(0, 0, 0, None))(thetas, keys, state, t0)

            return window

        self.window_of, self.unflatten = window_of, unflatten
        self.step = lambda theta, *rest: step(unflatten(theta), *rest)
        self.window = window_of(window, self.keys)

    def optimizer(self):
        """Shapes of theta, the state of fresh parameters, and the update."""

        def init(params):
            return [jax.tree.map(jnp.zeros_like, params) for _ in DECAYS]

        def normalised(x):
            return x * jax.lax.rsqrt(jnp.mean(x * x) + EPSILON)

        def one(net, t, p, g, *momenta):
            w1, b1, w2, b2, w3, b3 = net
            own = [normalised(x).reshape(-1, 1) for x in (g, p, *momenta)]
            time = jnp.tanh(t / jnp.asarray(TIMES, jnp.float32) - 1)
            features = jnp.concatenate([*own, jnp.broadcast_to(time, (p.size, len(TIMES)))], axis=1)
            out = jax.nn.relu(jax.nn.relu(features @ w1 + b1) @ w2 + b2) @ w3 + b3
            direction, magnitude = out[:, 0].reshape(p.shape), out[:, 1].reshape(p.shape)
            return p - SCALE * direction * jnp.exp(SCALE * magnitude)

        def update(net, t, params, gradient, momenta):
            momenta = [jax.tree.map(lambda m, g: d * m + (1 - d) * g, m, gradient) for d, m in zip(DECAYS, momenta)]
            return jax.tree.map(lambda *leaves: one(net, t, *leaves), params, gradient, *momenta), momenta

        return SHAPES, init, update

    def check(self, steps=3):
        """Against a float64 loop in numpy, two particles."""
        key = jax.random.key(9)
        state = jax.tree.map(lambda leaf: leaf[:2], self.state)
        _, losses = jax.jit(self.window_of(steps, self.keys[:2]))(state, 0, key)
        noise = np.asarray(pair_noise(key, 2, self.theta.size), np.float64)
        thetas = np.asarray(self.theta, np.float64) + SIGMA * noise
        expected = [self.numpy_losses(thetas[p], p, steps) for p in range(2)]
        return deviation(np.sum(losses, axis=1), np.sum(expected, axis=1))

    def numpy_losses(self, theta, p, steps):
        """The first losses of particle p in float64."""
        net = self.unflatten(theta)
        params = [np.asarray(leaf[p], np.float64) for layer in self.state[0] for leaf in layer]
        momenta = [[np.zeros_like(leaf) for leaf in params] for _ in DECAYS]
        losses = []
        for t in range(steps):
            rows = np.asarray(rows_of(self.keys[p], t, 0, self.batch, 0, self.train))
            _, gradient = numpy_gelu_mlp(params, self.images[rows].astype(np.float64), self.labels[rows])
            time = np.tanh(t / np.asarray(TIMES) - 1)
            for i, g in enumerate(gradient):
                own = [g, params[i]]
                for d, moving in zip(DECAYS, momenta):
                    moving[i] = d * moving[i] + (1 - d) * g
                    own.append(moving[i])
                features = [x.reshape(-1) / np.sqrt(EPSILON + np.mean(x * x)) for x in own]
                x = np.column_stack([*features, np.tile(time, (g.size, 1))])
                out = np.maximum(np.maximum(x @ net[0] + net[1], 0) @ net[2] + net[3], 0) @ net[4] + net[5]
                params[i] = params[i] - (SCALE * out[:, 0] * np.exp(SCALE * out[:, 1])).reshape(g.shape)
            rows = np.asarray(rows_of(self.keys[p], t, 1, self.batch, self.train, 60000))
            losses.append(numpy_gelu_mlp(params, self.images[rows].astype(np.float64), self.labels[rows])[0])
        return losses


def numpy_gelu_mlp(params, x, y):
    """Loss and gradient in float64; `params` alternates kernels and biases."""
    c, layers, n = np.sqrt(2 / np.pi), len(params) // 2, len(y)
    inputs, before = [x], []
    for i in range(layers):
        z = inputs[-1] @ params[2 * i] + params[2 * i + 1]
        before.append(z)
        inputs.append(0.5 * z * (1 + np.tanh(c * (z + 0.044715 * z**3))) if i + 1 < layers else z)
    z = inputs[-1]
    shifted = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(probabilities[np.arange(n), y]))
    delta = probabilities
    delta[np.arange(n), y] -= 1
    delta /= n
    gradient = [None] * len(params)
    for i in reversed(range(layers)):
        gradient[2 * i], gradient[2 * i + 1] = inputs[i].T @ delta, delta.sum(axis=0)
        if i > 0:
            u = before[i - 1]
            tanh = np.tanh(c * (u + 0.044715 * u**3))
            slope = 0.5 * (1 + tanh) + 0.5 * u * (1 - tanh**2) * c * (1 + 3 * 0.044715 * u**2)
            delta = (delta @ params[2 * i].T) * slope
    return loss, gradient
