"""
One JAX program in a process of its own, asked line by line in JSON on standard input: open, check, start, round, peak.
Each answer is a line {"ok": true, ...} or {"ok": false, "error": ...}. Standard output carries nothing else.
"""

import json
import resource
import sys

import jax

from programs.adafac import Adafac
from programs.conv import Conv
from programs.influence import Influence
from programs.learned_optimization_pes import LearnedOptimizationPes
from programs.lopt import Lopt
from programs.lorenz import Lorenz, LorenzOuter
from programs.mnist import Mnist
from programs.tbptt import LoptTbptt, MnistTbptt

PROGRAMS = {
    'mnist': Mnist,
    'lopt': Lopt,
    'adafac': Adafac,
    'lorenz': Lorenz,
    'influence': Influence,
    'conv': Conv,
    'learned-optimization-pes': LearnedOptimizationPes,
    'lorenz-outer': LorenzOuter,
    'mnist-tbptt': MnistTbptt,
    'lopt-tbptt': LoptTbptt,
}


def peak_bytes():
    """The kernel's high-water mark of this address space."""
    try:
        with open('/proc/self/status', encoding='ascii') as status:
            for line in status:
                if line.startswith('VmHWM:'):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Peer:
    def __init__(self):
        self.program = None

    def answer(self, name, body):
        if name == 'open':
            self.program = PROGRAMS[body['program']](**body.get('options', {}))
            return {'version': jax.__version__}
        if name == 'check':
            return {'deviation': self.program.check()}
        if name == 'start':
            compile_seconds = self.program.compile()
            self.program.round()
            return {'compileSeconds': compile_seconds, 'seconds': self.program.round()}
        if name == 'round':
            return {'seconds': self.program.round()}
        if name == 'peak':
            return {'bytes': peak_bytes()}
        raise ValueError(f'unknown request {name}')


def main():
    peer = Peer()
    for line in sys.stdin:
        try:
            request = json.loads(line)
            reply = {'ok': True, **peer.answer(request['name'], request.get('body', {}))}
        except Exception as error:  # any failure is an answer; the harness decides
            reply = {'ok': False, 'error': f'{type(error).__name__}: {error}'}
        print(json.dumps(reply), flush=True)


if __name__ == '__main__':
    main()
