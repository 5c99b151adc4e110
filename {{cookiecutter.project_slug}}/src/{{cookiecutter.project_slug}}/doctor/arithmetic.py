"""What training takes on n devices: memory, communication, checkpoints. Formulas alone; `project.py` measures.

Sources:
- Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of workstations: the ring.
- Rajbhandari et al. 2020, ZeRO, https://arxiv.org/abs/1910.02054: memory and communication of sharded training.
- Shoeybi et al. 2019, Megatron-LM, https://arxiv.org/abs/1909.08053: tensor parallel.
- Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198: activations under tensor parallel.
- Young 1974, A first order approximation to the optimum checkpoint interval; Daly 2006, A higher order estimate of the
  optimum checkpoint interval for restart dumps.
- Grattafiori et al. 2024, The Llama 3 Herd of Models, https://arxiv.org/abs/2407.21783: how often devices fail.
"""

import math
from dataclasses import dataclass

# Llama 3, table 5: 419 unexpected interruptions in 54 days on 16,384 GPUs, hosts and network included.
DAYS_BETWEEN_FAILURES = 16_384 * 54 / 419  # of one device: 2,111 days
DAY = 86_400  # seconds
# Korthikanti et al., equation 2: of the 34 bytes that a layer keeps per token and channel, 10 are not divided.
UNDIVIDED = 10 / 34
ALL_REDUCES_PER_BLOCK = 4  # Megatron-LM, figure 4: two in the forward pass and two in the backward pass


@dataclass(frozen=True)
class Sizes:
    """What a model and a batch take on one device, in bytes.

    Attributes:
        parameters: Parameters.
        buffers: Buffers, such as running means.
        gradients: Gradients.
        optimizer: State of the optimizer.
        activations: Everything else at the peak of a step, above all what the backward pass needs.
        largest_unit: Parameters of the largest block that FSDP gathers at once.
        block_outputs: Outputs of all repeated blocks together; 0 without such blocks.
    """

    parameters: int
    buffers: int
    gradients: int
    optimizer: int
    activations: int
    largest_unit: int
    block_outputs: int = 0

    @property
    def state(self) -> int:
        """Bytes of parameters, gradients and optimizer state."""
        return self.parameters + self.gradients + self.optimizer

    @property
    def checkpoint(self) -> int:
        """Bytes of a checkpoint: parameters, buffers and optimizer state."""
        return self.parameters + self.buffers + self.optimizer


@dataclass(frozen=True)
class Load:
    """What a strategy takes.

    Attributes:
        strategy: Its name.
        memory: Bytes on each device.
        sent: Bytes that each device sends per step.
    """

    strategy: str
    memory: float
    sent: float


def all_reduce(payload: float, devices: int) -> float:
    """Return the bytes that each device sends to sum a payload over a ring: a reduce-scatter and an all-gather."""
    return 2 * all_gather(payload, devices)


def all_gather(payload: float, devices: int) -> float:
    """Return the bytes that each device sends so that all hold a payload of which each had a part; or to scatter it."""
    return (devices - 1) / devices * payload


def single(sizes: Sizes) -> Load:
    """Return what training takes on one device."""
    return Load("one device", sizes.state + sizes.buffers + sizes.activations, 0)


def ddp(sizes: Sizes, devices: int) -> Load:
    """Return what data parallel takes: everything on each device, and the gradients twice.

    PyTorch's DDP copies gradients into buckets, which it sums over the devices.
    """
    if devices == 1:
        return single(sizes)
    memory = sizes.state + sizes.gradients + sizes.buffers + sizes.activations
    return Load("ddp", memory, all_reduce(sizes.gradients, devices))


def fsdp(sizes: Sizes, devices: int) -> Load:
    """Return what FSDP takes, which is ZeRO's third stage: the state is divided by n.

    Parameters are gathered for the forward pass and again for the backward pass; gradients are scattered. Memory holds
    the block that computes, the next one that is gathered meanwhile, and the gradients of a block. It is a lower bound:
    copies that wait for the network come on top, on CPUs with gloo half as much again and more.
    """
    memory = sizes.state / devices + 3 * sizes.largest_unit + sizes.buffers + sizes.activations
    sent = 2 * all_gather(sizes.parameters, devices) + all_gather(sizes.gradients, devices)
    return Load("fsdp", memory, sent)


def tensor_parallel(sizes: Sizes, devices: int, within: int) -> Load:
    """Return what tensor parallel takes within groups of devices, and FSDP over the groups.

    An estimate for transformers whose blocks are attention and MLP: their weights are divided, and so are 24 of 34
    parts of their activations. Every block sums its output four times per step.

    Args:
        sizes: Of the model and a batch.
        devices: Devices in all.
        within: Devices of a group, among which every matrix is divided.
    """
    groups = devices // within
    activations = sizes.activations * (UNDIVIDED + (1 - UNDIVIDED) / within)
    memory = sizes.state / devices + 3 * sizes.largest_unit / within + sizes.buffers + activations
    if groups == 1:
        memory -= 3 * sizes.largest_unit / within  # nothing is gathered
    sharded = 2 * all_gather(sizes.parameters / within, groups) + all_gather(sizes.gradients / within, groups)
    sent = sharded + ALL_REDUCES_PER_BLOCK * all_reduce(sizes.block_outputs, within)
    return Load(f"tensor {within} x fsdp {groups}" if groups > 1 else f"tensor {within}", memory, sent)


def steps_per_epoch(rows: int, batch_size: int, devices: int, accumulate: int = 1) -> int:
    """Return the optimizer steps of an epoch in which every device reads its share of the rows."""
    batches = math.ceil(math.ceil(rows / devices) / batch_size)
    return math.ceil(batches / accumulate)


def most_devices(rows: int, batch_size: int, accumulate: int = 1) -> int:
    """Return the number of devices from which on an epoch is a single step."""
    return max(1, math.ceil(rows / (batch_size * accumulate)))


def seconds_between_failures(devices: int, days_of_one: float = DAYS_BETWEEN_FAILURES) -> float:
    """Return the mean time between two failures of any of the devices, if they fail independently."""
    return days_of_one * DAY / devices


def save_interval(write: float, between_failures: float) -> float:
    """Return the seconds of training between two checkpoints that lose the least time.

    Young's first order is sqrt(2 write M), for a mean time between failures M; Daly adds higher orders, which matter
    once a checkpoint takes a considerable part of M.

    Args:
        write: Seconds that training waits for a checkpoint.
        between_failures: Mean seconds between failures.
    """
    if write >= 2 * between_failures:
        return between_failures
    ratio = write / (2 * between_failures)
    return math.sqrt(2 * write * between_failures) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - write


def lost_share(interval: float, write: float, between_failures: float) -> float:
    """Return the share of time that writing takes, and on average half an interval of work per failure.

    A restart comes on top of it.
    """
    return min(1.0, write / (interval + write) + (interval + write) / (2 * between_failures))
