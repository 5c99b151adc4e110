"""Compare the memory that `doctor` predicts for a step with what PyTorch's allocator gives out.

    python measure_memory.py --model.layers 4

Runs in a rendered project called `seed`; the arguments are options of `fit`. Prints both numbers of bytes as JSON.
"""

import json
import sys

import torch
from seed.doctor.arithmetic import single
from seed.doctor.project import parse, try_steps
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_map

made, failure = parse(sys.argv[1:])
assert made is not None, failure
measured, failure = try_steps(made, "cpu")
assert measured is not None, failure

arguments = {name: value for name, value in made.model.hparams.items() if not name.startswith("_")}
batch = next(iter(made.datamodule.train_dataloader()))
with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
    batch = tree_map(torch.clone, batch)
    model = type(made.model)(**arguments)
    model.log = lambda *args, **kwargs: None
    optimizer = model.configure_optimizers()
    for group in optimizer.param_groups:
        group["fused"] = True
    for _ in range(3):
        loss = model.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

live = peak = 0
events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
for event in sorted(events, key=lambda event: event.start_ns()):
    live += event.nbytes()
    peak = max(peak, live)
predicted = single(measured.sizes).memory + measured.batch_bytes
print(json.dumps({"predicted": predicted, "allocated": peak}))
