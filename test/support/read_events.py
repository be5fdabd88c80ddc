"""Prints the scalars of a folder of event files as TensorBoard reads them: {tag: [[wall time, step, value], …]}."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# 0: all events, not a sample of them.
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0})
events.Reload()
print(json.dumps({tag: [[e.wall_time, e.step, str(e.value)] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))
