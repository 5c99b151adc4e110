"""`doctor`: what is wrong is named with its remedy, and the arithmetic of scale equals what can be measured."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, ROOT
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn, optim
from torch.distributed import GradBucket, destroy_process_group, init_process_group
from torch.futures import Future
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from {{ cookiecutter.project_slug }}.doctor import arithmetic, machine, project
from {{ cookiecutter.project_slug }}.doctor.__main__ import main as doctor
from {{ cookiecutter.project_slug }}.doctor.arithmetic import Sizes
from {{ cookiecutter.project_slug }}.doctor.findings import Finding, size, time
from {{ cookiecutter.project_slug }}.doctor.launcher import LAUNCHERS, check_launcher
from {{ cookiecutter.project_slug }}.doctor.loading import best_number, counts_up_to
from {{ cookiecutter.project_slug }}.train import main

MB = 10**6
ROWS, BATCH, TOKENS, WIDTH = 96, 16, 32, 64
CPU = ["--trainer.accelerator", "cpu"]
OWN = [*CPU, "--data", "test_doctor.OwnData", "--model"]  # a model and data written from scratch, below

TORCHRUN = {
    **{"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "0"},
    **{"GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "big"},
    **{"TORCHELASTIC_MAX_RESTARTS": "3", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "2"},
}
SLURM = {
    **{"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NNODES": "2", "SLURM_NTASKS": "4"},
    **{"SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_CPUS_PER_TASK": "4"},
}
SALLOC = {name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"}
SALLOC |= {"SLURM_JOB_NAME": "interactive", "OMP_NUM_THREADS": "1"}
KUBEFLOW = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_NODE_RANK": "0", "PET_MASTER_ADDR": "node1"}


class OwnData(LightningDataModule):
    """Rows in memory."""

    def train_dataloader(self) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(0)
        x, y = torch.randn(ROWS, TOKENS, WIDTH, generator=generator), torch.randn(ROWS, 1, generator=generator)
        return DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)


class Wide(LightningModule):
    """A multilayer perceptron that is large beside its batch."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.network: nn.Module = nn.Sequential(
            nn.Flatten(), nn.Linear(TOKENS * WIDTH, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
        )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.fails:
            raise TypeError("a bug in the model")
        x, y = batch
        return (self.network(x) - y).pow(2).mean()

    def configure_optimizers(self) -> optim.Optimizer:
        return optim.AdamW(self.parameters(), lr=0.001)


class Stack(nn.Module):
    """A transformer's encoder, and a number."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, batch_first=True) for _ in range(4))
        self.blocks = nn.ModuleList(layers)
        self.head = nn.Linear(TOKENS * WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x.flatten(1))


class Deep(Wide):
    """A transformer whose activations are large beside its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Stack()


def _known(name: str) -> str:
    return "10.0.0.1"


def _unknown(name: str) -> str:
    raise OSError(-2, "Name or service not known")


def _wrong(environment: dict[str, str], gpus: int = 0, resolve: Any = _known) -> list[Finding]:
    return [each for each in check_launcher(environment, 8, gpus, resolve) if each.do or each.fatal]


# Launchers


@pytest.mark.parametrize("environment", [{}, TORCHRUN, SLURM, {"OMP_NUM_THREADS": "4"}, {"WORLD_SIZE": "1"}], ids=str)
def test_nothing_is_wrong_with_what_a_launcher_sets(environment: dict[str, str]) -> None:
    assert _wrong(environment) == []


@pytest.mark.parametrize(
    ("environment", "what", "do", "fatal"),
    [
        ({"RANK": "0", "WORLD_SIZE": "4"}, "WORLD_SIZE", "export MASTER_ADDR=", True),
        (TORCHRUN | {"MASTER_PORT": ""}, "WORLD_SIZE", "MASTER_PORT=29500", True),
        (TORCHRUN | {"RANK": "8"}, "RANK", "number them from 0", True),
        (TORCHRUN | {"WORLD_SIZE": "two"}, "WORLD_SIZE", "unset WORLD_SIZE", True),
        ({"RANK": "0"}, "RANK", "unset RANK", True),
        (
            {"WORLD_SIZE": "4", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"},
            *("WORLD_SIZE", "start it with torchrun", True),
        ),
        (
            TORCHRUN | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "0"},
            *("torchrun", "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1", False),
        ),
        (TORCHRUN | {"OMP_NUM_THREADS": None}, "OMP_NUM_THREADS", "export OMP_NUM_THREADS=2", False),
        (SLURM | {"SLURM_STEP_ID": None, "OMP_NUM_THREADS": "1"}, "Slurm", "put srun in front", True),
        (SLURM | {"SLURM_NTASKS_PER_NODE": None}, "Slurm", "--nodes 2 and --ntasks-per-node 2", True),
        (SLURM | {"SLURM_JOB_NAME": "bash"}, "Slurm", "--job-name", False),
        (SALLOC, "Slurm", "srun python", False),
        (KUBEFLOW, "Kubeflow", "torchrun -m", True),
        (
            KUBEFLOW | {"TORCHELASTIC_RUN_ID": "none", "CUDA_VISIBLE_DEVICES": ""},
            *("CUDA_VISIBLE_DEVICES", "unset", False),
        ),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES", "unset CUDA_VISIBLE_DEVICES", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_launcher_is_named_with_its_remedy(
    environment: dict[str, str | None], what: str, do: str, fatal: bool
) -> None:
    [finding] = _wrong({name: value for name, value in environment.items() if value is not None})
    assert (finding.what, finding.fatal) == (what, fatal)
    assert do in finding.do


def test_kubeflow_without_a_master_is_named_too() -> None:
    without = {name: value for name, value in KUBEFLOW.items() if name != "PET_MASTER_ADDR"}
    assert [finding.do for finding in _wrong(without)][1:] == ["let the TrainJob set it"]


def test_hosts_that_are_not_reached_are_named() -> None:
    master, own = _wrong(TORCHRUN, resolve=_unknown)
    assert (master.what, master.fatal) == ("MASTER_ADDR", True)
    assert "node1: Name or service not known" in master.found
    assert (own.what, own.fatal) == ("host name", False)
    assert "GLOO_SOCKET_IFNAME" in own.do
    [own] = _wrong(TORCHRUN, resolve=lambda name: "127.0.1.1")
    assert own.what == "host name"
    assert _wrong(TORCHRUN | {"GLOO_SOCKET_IFNAME": "eth0"}, resolve=lambda name: "127.0.1.1") == []


def test_more_processes_than_gpus_are_named() -> None:
    assert _wrong(TORCHRUN, gpus=4) == []
    [finding] = _wrong(TORCHRUN, gpus=2)
    assert (finding.do, finding.fatal) == ("torchrun --nproc-per-node 2", True)


def test_no_other_variable_is_shown() -> None:
    private = "do not print me"
    printed = str(check_launcher(TORCHRUN | SLURM | {"WANDB_API_KEY": private, "SLURM_JWT": private}, 8, 0, _known))
    assert private not in printed
    assert "GROUP_WORLD_SIZE=2" in printed
    assert "SLURM_NTASKS=4" in printed


# The machine


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_the_cgroup_count(version: int, tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:       8000000 kB\nMemAvailable:   6000000 kB\n")
    assert machine.read_memory(proc, cgroups) == (8192 * MB, 6144 * MB, None)
    assert machine.read_cores(proc, cgroups).limits == machine.read_cores().limits
    lines = {1: "4:memory:/job\n1:cpu,cpuacct:/job\n", 2: "0::/job/step\n"}
    (proc / "self/cgroup").write_text(lines[version])
    files: dict[int, dict[str, object]] = {
        1: {
            **{"memory/job/memory.limit_in_bytes": 4000 * MB, "memory/memory.limit_in_bytes": 2**63 - 4096},
            **{"memory/job/memory.usage_in_bytes": 1000 * MB},
            **{"cpu,cpuacct/job/cpu.cfs_quota_us": 50000, "cpu,cpuacct/job/cpu.cfs_period_us": 100000},
        },
        2: {"job/memory.max": 4000 * MB, "job/memory.current": 1000 * MB, "job/step/memory.max": "max"}
        | {"job/cpu.max": "50000 100000", "job/step/cpu.max": "max 100000"},
    }
    for name, content in files[version].items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(f"{content}\n")
    assert machine.read_memory(proc, cgroups) == (8192 * MB, 3000 * MB, 4000 * MB)
    cores = machine.read_cores(proc, cgroups)
    assert (cores.usable, cores.limits) == (1, "the cgroup allows 0.5")


def test_disk_and_shared_memory_that_are_too_small_are_named(tmp_path: Path) -> None:
    assert not machine.disk(tmp_path / "runs" / "deep", 100).do
    full = machine.disk(tmp_path / "runs", 10**18)
    assert full.fatal
    assert "--trainer.default_root_dir" in full.do
    enough, short = machine.shared_memory(1, tmp_path), machine.shared_memory(10**18, tmp_path)
    assert enough is not None
    assert not enough.do
    assert short is not None
    assert "--shm-size" in short.do
    assert machine.shared_memory(1, tmp_path / "nowhere") is None


def test_an_accelerator_that_is_not_here_is_named_with_one_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = machine.accelerator("tpu", "32-true")
    assert finding.fatal
    assert finding.do.startswith("--config configs/accelerator/")
    assert not machine.accelerator("auto", "32-true").fatal
    assert not machine.accelerator("cpu", "32-true").fatal


# Loading


@pytest.mark.parametrize(
    ("seconds", "step", "best"),
    [
        ({0: 0.09, 1: 0.0001}, 1.0, 0),  # a step hardly waits for the data
        ({0: 0.01, 1: 0.02, 2: 0.012}, 0.001, 0),  # rows in memory: workers are slower
        ({0: 0.1, 1: 0.1, 2: 0.05, 4: 0.025}, 0.05, 2),  # two keep up with the step
        ({0: 0.1, 1: 0.1, 2: 0.05, 4: 0.049}, 0.01, 2),  # four bring nothing more
        ({0: 0.1, 1: 0.1, 2: 0.05, 4: 0.025}, 0.01, 4),
    ],
)
def test_workers_pay_if_a_step_would_wait_for_them(seconds: dict[int, float], step: float, best: int) -> None:
    assert best_number(seconds, step) == best


def test_numbers_of_workers_double_up_to_the_cores() -> None:
    assert [counts_up_to(cores) for cores in (1, 2, 6, 8)] == [
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 4, 6],
        [0, 1, 2, 4, 8],
    ]


# Arithmetic


def test_a_ring_sends_what_its_paper_says() -> None:
    assert arithmetic.all_gather(100, 1) == arithmetic.all_reduce(100, 1) == 0
    assert arithmetic.all_gather(100, 4) == 75
    assert arithmetic.all_reduce(100, 4) == 150


def test_sharding_divides_the_state_and_sends_half_as_much_again() -> None:
    # ZeRO's example, figure 1: 7.5 billion parameters on 64 devices; 2 + 2 + 12 bytes each: 120 GB, and 1.88 GB sharded
    billion = 10**9
    sizes = Sizes(15 * billion, 0, 15 * billion, 90 * billion, 0, 0)
    assert arithmetic.single(sizes).memory == 120 * billion
    assert arithmetic.fsdp(sizes, 64).memory == pytest.approx(1.88 * billion, rel=0.01)
    assert arithmetic.fsdp(sizes, 64).sent == 1.5 * arithmetic.ddp(sizes, 64).sent
    assert arithmetic.ddp(sizes, 1) == arithmetic.single(sizes)


def test_tensor_parallel_divides_the_weights_and_sums_every_block_four_times() -> None:
    sizes = Sizes(800, 0, 800, 1600, 3400, 100, block_outputs=1000)
    load = arithmetic.tensor_parallel(sizes, 8, within=8)
    assert load.memory == pytest.approx(3200 / 8 + 1000 + 2400 / 8)
    assert load.sent == 4 * arithmetic.all_reduce(1000, 8)
    assert arithmetic.tensor_parallel(sizes, 16, within=8).sent == load.sent + 3 * 50


@pytest.mark.parametrize("devices", [1, 3, 7, 100])
def test_steps_of_an_epoch_are_those_of_a_distributed_sampler(devices: int) -> None:
    sampler: DistributedSampler[Any] = DistributedSampler(range(310), devices, rank=0)  # type: ignore[arg-type]
    loader: DataLoader[Any] = DataLoader(range(310), batch_size=10, sampler=sampler)  # type: ignore[arg-type]
    assert arithmetic.steps_per_epoch(310, 10, devices) == len(loader)
    assert arithmetic.steps_per_epoch(310, 10, devices, accumulate=2) == math.ceil(len(loader) / 2)
    most = arithmetic.most_devices(310, 10)
    assert arithmetic.steps_per_epoch(310, 10, most) == 1 < arithmetic.steps_per_epoch(310, 10, most - 1)


@pytest.mark.parametrize(("write", "between"), [(1.0, 100_000.0), (60.0, 18_000.0), (300.0, 1_200.0)])
def test_the_interval_loses_the_least(write: float, between: float) -> None:
    # Daly's complete model: the expected time of a segment of work, if it starts again after every failure
    def takes(interval: float) -> float:
        return between * math.expm1((interval + write) / between) / interval

    candidates = [between * 1.01**-power for power in range(1500)]
    assert takes(arithmetic.save_interval(write, between)) < 1.002 * min(map(takes, candidates))
    young = math.sqrt(2 * write * between)
    assert arithmetic.save_interval(write, between) == pytest.approx(young, rel=0.3)
    assert arithmetic.seconds_between_failures(10_000, 2_111) == pytest.approx(5.07 * 3600, rel=0.01)


def test_tables_of_the_page_are_computed() -> None:
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    # 7 billion parameters: 32 layers, width 4,096, 4,096 tokens; blocks of 12 width^2 parameters; outputs in bfloat16
    many, layers, width, tokens = 7 * 10**9, 32, 4096, 4096
    activations = 34 * layers * width * tokens  # Korthikanti et al. 2022, equation 2
    sizes = Sizes(4 * many, 0, 4 * many, 8 * many, activations, 48 * width**2, 2 * layers * width * tokens)
    loads = {(1, arithmetic.single(sizes)), (8, arithmetic.ddp(sizes, 8))}
    for devices in (8, 64, 512, 10_000):
        loads |= {(devices, arithmetic.fsdp(sizes, devices)), (devices, arithmetic.tensor_parallel(sizes, devices, 8))}
    for devices, load in loads:
        fits, sent = "yes" if load.memory < 80e9 else "no", size(load.sent) if load.sent else "nothing"
        assert f"| {devices:,} | {load.strategy} | {size(load.memory)} | {fits} | {sent} |" in page
    for devices in (8, 64, 512, 4_096, 10_000):
        between = arithmetic.seconds_between_failures(devices)
        cells = [f"{devices:,}", time(between)]
        for write in (sizes.checkpoint / 10**9, sizes.checkpoint / (8 * 10**9)):
            interval = arithmetic.save_interval(write, between)
            cells += [time(interval), f"{100 * arithmetic.lost_share(interval, write, between):.2g} %"]
        assert f"| {' | '.join(cells)} |" in page


def test_bytes_that_autograd_keeps_are_counted_until_they_are_freed() -> None:
    x = torch.zeros(1000, requires_grad=True)
    with project.LiveBytes([x]) as memory:
        loss = x.exp().exp().sum()  # which keeps both results
        assert memory.live == 4000 + 2 * 4000 + 4
        loss.backward()
        del loss
        assert memory.live == 4000 + 4000  # x and its gradient
    assert memory.peak >= 12_004


# The command


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--plan", "0"], "--plan 0: must be above 0"),
        (["--plan", "8", "--plan.memory", "-1"], "--plan.memory -1.0: must be above 0"),
        (["--plan.failure_days", "3"], "--plan.failure_days: has no effect without --plan 8 64"),
    ],
)
def test_wrong_options_of_the_plan_are_one_line(args: list[str], line: str) -> None:
    with pytest.raises(SystemExit, match=f"^error: {line}"):
        main(["doctor", *args])


def _json(args: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[dict[str, Any], str]:
    """Run doctor, and return what it printed as JSON, and its errors."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--json", *args])
    assert end.value.code == code
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


@pytest.mark.slow
def test_the_project_itself_can_train_and_nothing_is_left(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, errors = _json([*QUICK, "--plan", "1", "64", "--plan.write_speed", "1"], capsys)
    assert found["can_train"]
    assert "error" not in errors
    rows = {finding["what"]: finding for finding in found["findings"]}
    assert {"system", "Python", "PyTorch", "CPU", "memory", "accelerator", "precision", "data", "model"} <= rows.keys()
    assert {"step", "workers", "disk"} <= rows.keys()
    assert rows["workers"]["found"].startswith("batches per second by number of workers, measured: 0: ")
    one, many = found["plan"]["devices"]
    assert many["global_batch"] == 64 * one["global_batch"]
    assert [load["strategy"] for load in many["strategies"]][:2] == ["ddp", "fsdp"]
    assert not Path("runs").exists()


@pytest.mark.slow
def test_table_is_printed_for_a_model_and_data_from_scratch(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        doctor([*OWN, "test_doctor.Deep", "--plan", "16"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert "tensor 8 x fsdp 2" in printed
    assert f"{ROWS} rows in batches of {BATCH}: from 6 devices on, an epoch is a single step" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "what", "says"),
    [
        (
            ["--data", "test_doctor.OwnData", "--model", "test_doctor.Wide", "--model.fails", "true"],
            "a step",
            "a bug in",
        ),
        (["--trainer.accelerator", "tpu"], "accelerator", "the config says tpu, which is not here"),
        (["--data.path", "nowhere.txt"], "model and data", "nowhere.txt"),
    ],
)
def test_what_makes_training_impossible_ends_with_1_and_a_line(
    args: list[str], what: str, says: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, errors = _json([*QUICK, *args], capsys, code=1)
    assert not found["can_train"]
    [line] = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {what}")
    assert says in line


@pytest.mark.slow
def test_a_model_that_is_too_large_for_one_device_needs_sharding(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "read_memory", lambda: machine.Memory(2 * MB, MB, None))
    _, errors = _json([*OWN, "test_doctor.Wide"], capsys, code=1)
    assert "error: memory: parameters and gradients take 4.72 MB on one device, and 1 MB are available" in errors
    sharded, _ = _json([*OWN, "test_doctor.Wide", "--config", "configs/strategy/fsdp.yaml"], capsys)
    assert sharded["can_train"]


@pytest.mark.slow
def test_misspelled_options_of_fit_are_one_line(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        doctor(["--trainer.max_epoch", "3"])
    assert end.value.code == 2
    assert "--trainer.max_epoch: no such option; did you mean --trainer.max_epochs?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_broken_launcher_is_named_and_waited_for_by_nobody(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for names in LAUNCHERS.values() for name in names]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    found, errors = _json(QUICK, capsys, code=1)
    assert "error: WORLD_SIZE: 4 processes without MASTER_ADDR and MASTER_PORT; start it with torchrun" in errors
    assert "step" in [finding["what"] for finding in found["findings"]]
    assert os.environ["WORLD_SIZE"] == "4"


# Measured


def _measure(model: str, *options: str) -> project.Measured:
    made, failure = project.parse([*OWN, f"test_doctor.{model}", *options])
    assert made is not None, failure
    measured, failure = project.try_steps(made, "cpu")
    assert measured is not None, failure
    return measured


def _really_allocated(model: Wide) -> int:
    """Train by hand, and return the peak of what PyTorch's allocator gave out, parameters and batch included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        copy = type(model)()
        optimizer = optim.AdamW(copy.parameters(), lr=0.001, fused=True)
        batch = next(iter(OwnData().train_dataloader()))
        for _ in range(3):
            loss = copy.training_step(batch, 0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    results: Any = recorded.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    return max(_sums(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def _sums(numbers: Iterator[int]) -> Iterator[int]:
    total = 0
    for number in numbers:
        total += number
        yield total


@pytest.mark.slow
@pytest.mark.parametrize("model", ["Wide", "Deep"])
def test_memory_of_a_step_is_within_a_tenth_of_what_is_allocated(model: str, workdir: Path) -> None:
    measured = _measure(model)
    sizes = measured.sizes
    assert sizes.parameters == sizes.gradients == 4 * measured.parameters
    assert sizes.optimizer == pytest.approx(8 * measured.parameters, rel=0.01)  # two moments, and a number of steps
    data = 4 * (ROWS * TOKENS * WIDTH + ROWS) + measured.batch_bytes
    allocated = _really_allocated(measured.project.model)
    assert arithmetic.single(sizes).memory + data == pytest.approx(allocated, rel=0.1)


@pytest.mark.slow
def test_activation_checkpointing_is_measured_too(workdir: Path) -> None:
    overlay = ["--config", "configs/callbacks/activation_checkpointing.yaml"]
    with_it, without = _measure("Deep", *overlay).sizes, _measure("Deep").sizes
    assert with_it.activations < without.activations / 2
    assert with_it.parameters == without.parameters


def _count_gradients(rank: int, folder: str) -> None:
    init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    counted: list[int] = []

    def count(state: list[int], bucket: GradBucket) -> Future[Tensor]:
        state.append(bucket.buffer().nbytes)
        done: Future[Tensor] = Future()
        done.set_result(bucket.buffer())
        return done

    model = Wide()
    spread = nn.parallel.DistributedDataParallel(model.network)
    spread.register_comm_hook(counted, count)
    for _ in range(2):
        counted.clear()  # the first step has other buckets
        spread(torch.randn(BATCH, TOKENS, WIDTH)).sum().backward()
    Path(folder, f"{rank}.json").write_text(json.dumps(counted))
    destroy_process_group()


@pytest.mark.slow
def test_gradients_that_two_processes_sum_have_the_bytes_that_are_planned(workdir: Path) -> None:
    torch.multiprocessing.spawn(_count_gradients, (str(workdir),), nprocs=2)
    sizes = _measure("Wide").sizes
    for rank in range(2):
        assert sum(json.loads(Path(f"{rank}.json").read_text())) == sizes.gradients


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_with_any_number_of_workers(workers: int, workdir: Path) -> None:
    loader = _measure("Wide").loader
    again = project.rebuilt(loader, workers)
    assert again.num_workers == workers
    for batch, expected in zip(again, loader, strict=True):
        assert all(torch.equal(*pair) for pair in zip(batch, expected, strict=True))
