"""What a launcher has decided: how many machines, and how many processes on each.

Lightning takes the rank of a process from the launcher, but the number of machines and processes from
`--trainer.num_nodes` and `--trainer.devices`, and refuses to start if they differ. Here the launcher decides, so that
one command and one config run on any number of machines, also if it changes between two restarts.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import Strategy

from .errors import InputError

FOLLOWS = (1, "1", "auto", -1, "-1", None)  # values of an option that leave a number to the launcher
SHELLS = ("bash", "interactive")  # names of the jobs of `srun --pty bash` and `salloc`
FIRST_SPECIAL_STEP = 0xFFFFFFF0  # srun numbers its steps from 0; a shell of `salloc` may be a step above this one


@dataclass(frozen=True)
class Launch:
    """How many processes a launcher has started.

    Attributes:
        by: Its name.
        nodes: Number of machines.
        processes: Number of processes on each machine.
        environment: Its plugin for Lightning; None if Lightning finds it by itself.
        ddp: Its own strategy in place of the configured "auto" or "ddp", if it has one.
        callbacks: Its callbacks.
    """

    by: str
    nodes: int
    processes: int
    environment: ClusterEnvironment | None = None
    ddp: Strategy | None = None
    callbacks: Sequence[Callback] = ()

    def settings(self, num_nodes: Any, devices: Any, strategy: Any = "auto") -> dict[str, Any]:
        """Return the arguments for the Trainer that the launcher decides.

        Args:
            num_nodes: As configured.
            devices: As configured: a number, a list of devices, or "auto".
            strategy: As configured: a name, or a strategy.

        Raises:
            InputError: If they contradict the launcher.
        """
        if isinstance(devices, (list, tuple)) or (isinstance(devices, str) and "," in devices):
            raise InputError(
                f"--trainer.devices {devices}: {self.by} has started a process for each device; drop the option, and "
                "choose GPUs with CUDA_VISIBLE_DEVICES"
            )
        for option, given, started in (("num_nodes", num_nodes, self.nodes), ("devices", devices, self.processes)):
            if given not in FOLLOWS and int(given) != started:
                what = "machines: {}" if option == "num_nodes" else "processes on each machine: {}"
                raise InputError(
                    f"--trainer.{option} {given} contradicts {self.by}, which has started {what.format(started)}; "
                    "drop the option"
                )
        own = {"strategy": self.ddp} if self.ddp and strategy in ("auto", "ddp") else {}
        return {"num_nodes": self.nodes, "devices": self.processes, **own}


_announced: list[Launch] = []


def announce(launch: Launch) -> None:
    """Say what a launcher has started that calls `fit` in its own processes, such as Ray."""
    _announced[:] = [launch]


class Slurm(SLURMEnvironment):
    """Lightning's own without its handlers of signals, and without its checks, of which `find_launch` does more.

    The handlers talk to the other processes wherever the training happens to be and can deadlock; `stop.py` does that
    at a step boundary, and the batch script requeues.
    """

    def __init__(self) -> None:
        super().__init__(auto_requeue=False)

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Accept what `Launch.settings` has decided; a step may have fewer tasks than its job."""


def find_launch() -> Launch | None:
    """Return what a launcher has started; None if this process was started by hand.

    Raises:
        InputError: If the tasks of a Slurm job are not spread evenly over its machines, or srun is missing.
    """
    if _announced:
        return _announced[0]
    environment = os.environ
    if TorchElasticEnvironment.detect():
        return Launch(
            "torchrun", int(environment.get("GROUP_WORLD_SIZE", "1")), int(environment.get("LOCAL_WORLD_SIZE", "1"))
        )
    if "SLURM_NTASKS" not in environment:
        return None
    tasks, nodes = int(environment["SLURM_NTASKS"]), int(environment.get("SLURM_NNODES", "1"))
    if not _is_step():
        if tasks > 1 and environment.get("SLURM_JOB_NAME") not in SHELLS:
            raise InputError(
                f"this Slurm job has {tasks} tasks, but no srun has started them: put srun in front of the command"
            )
        return None
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in environment:
        raise InputError(
            f"Slurm was asked for {tasks} tasks on any machine: use --nodes and --ntasks-per-node instead of --ntasks"
        )
    if tasks % nodes:
        raise InputError(
            f"Slurm has started {tasks} tasks on {nodes} machines, but each needs as many: use --ntasks-per-node"
        )
    return Launch("Slurm", nodes, tasks // nodes)


def _is_step() -> bool:
    """Tell whether srun has started this process, and not a shell in which somebody works."""
    environment = os.environ
    step = int(environment.get("SLURM_STEP_ID", FIRST_SPECIAL_STEP))
    return step < FIRST_SPECIAL_STEP and environment.get("SLURM_JOB_NAME") != SHELLS[0]


def cluster_plugins(plugins: list[Any]) -> list[Any]:
    """Return the plugins a launcher needs besides those of the config."""
    if any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        return []
    if _announced:
        return [launch.environment for launch in _announced if launch.environment]
    if TorchElasticEnvironment.detect() or "SLURM_NTASKS" not in os.environ:
        return []
    # Lightning takes any process of a Slurm job for one of its tasks.
    return [Slurm() if _is_step() else LightningEnvironment()]
