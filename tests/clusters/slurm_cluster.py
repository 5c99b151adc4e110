"""A Slurm cluster of several nodes on this host: its own daemons, ports, keys and files, all in one folder."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

PACKAGES = ["slurmctld", "slurmd", "slurm-client", "munge"]
WITH_THIS = ["setpriv", "--pdeathsig", "KILL"]  # or the daemons would outlive tests that are killed
DAEMONS = ["munged", "slurmctld", "slurmd"]
CAN_RUN = sys.platform == "linux" and (
    all(map(shutil.which, DAEMONS)) or (os.geteuid() == 0 and shutil.which("apt-get") is not None)
)
needs_slurm = pytest.mark.skipif(not CAN_RUN, reason="needs Linux and Slurm, or root and apt-get to install it")

# No cgroups, no accounting. A requeued job waits for `cred_expire`, and processes get SIGKILL `KillWait` after SIGTERM.
CONF = """\
ClusterName=lit
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.sock,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=20
CompleteWait=0
ReturnToService=2
SlurmdTimeout=300
InactiveLimit=0
SlurmdParameters=config_overrides
NodeName=lit[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=2 RealMemory=4000
PartitionName=main Nodes=lit[1-2] Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=lit[1-2] Default=NO State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=aside Nodes=lit[3-4] Default=NO State=UP PriorityTier=1 PreemptMode=OFF
"""
NODES = 4


class Cluster:
    """Commands of a user.

    Args:
        project: Folder in which they are typed.
        environment: Their environment.
    """

    def __init__(self, project: Path, environment: dict[str, str]) -> None:
        self.project = project
        self.environment = environment

    def run(self, *command: str, **variables: str) -> str:
        """Run a command, and return what it prints."""
        result = subprocess.run(
            command,
            cwd=self.project,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=200,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def sbatch(self, *args: str, **variables: str) -> str:
        """Submit a job, and return its number."""
        return self.run("sbatch", "--parsable", *args, **variables).strip()

    def facts(self, job: str) -> dict[str, str]:
        """Return what Slurm knows of a job."""
        words = self.run("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, job: str, *states: str, seconds: float = 240) -> dict[str, str]:
        """Wait until a job is in one of these states, by default until it has ended, and return its facts."""
        end = time.monotonic() + seconds
        while True:
            facts = self.facts(job)
            if facts["JobState"] in (states or ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")):
                return facts
            assert time.monotonic() < end, (facts, self.log(job))
            time.sleep(0.2)

    def log(self, job: str) -> str:
        """Return the output of a job."""
        path = Path(self.facts(job)["StdOut"])
        return path.read_text() if path.exists() else ""


def install() -> None:
    """Install Slurm where it is missing."""
    if not all(map(shutil.which, DAEMONS)):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", "-q", *command], env=quiet, check=True, capture_output=True)


@contextmanager
def cluster(root: Path, project: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    """Start the daemons, and end them by their process ids.

    Args:
        root: Folder for all of their files; a short path, since a socket is in it.
        project: Folder in which commands are typed.
        environment: Their environment.
    """
    install()
    host, port = socket.gethostname().partition(".")[0], _free_ports(NODES + 1)
    names = [f"lit{number}" for number in range(1, NODES + 1)]
    for folder in ("state", *(f"spool.{name}" for name in names)):
        (root / folder).mkdir(parents=True)
    conf, key = root / "slurm.conf", root / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    ports = {"port": port, "first": port + 1, "last": port + NODES}
    conf.write_text(CONF.format(host=host, user=getpass.getuser(), root=root, nodes=NODES, **ports))
    files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid", "log-file": "munged.log"}
    munge = [f"--{option}={root / name}" for option, name in files.items()]
    # Nodes are no hosts, so their names do not resolve.
    user = Cluster(project, environment | {"SLURM_CONF": str(conf), "MASTER_ADDR": "127.0.0.1"})
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        command = [*WITH_THIS, *arguments]
        with (root / "daemons.log").open("ab") as log:
            quiet = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            daemons.append(subprocess.Popen(command, env=user.environment, start_new_session=True, **quiet))  # type: ignore[call-overload]

    try:
        start("munged", "--foreground", "--force", f"--seed-file={root}/munge.seed", *munge)
        _wait_until(lambda: (root / "munge.sock").exists(), root)
        start("slurmctld", "-D", "-i", "-f", str(conf))
        for name in names:
            start("slurmd", "-D", "-N", name, "-f", str(conf))
        idle = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
        _wait_until(lambda: len(_lines(idle, user.environment)) == NODES, root)
        yield user
        user.run("scancel", "--user", getpass.getuser())
        _wait_until(lambda: not _lines(["squeue", "--noheader"], user.environment), root)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _lines(command: Sequence[str], environment: dict[str, str]) -> list[str]:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return list(dict.fromkeys(result.stdout.split())) if result.returncode == 0 else ["?"]


def _wait_until(condition: Callable[[], object], root: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (root / "daemons.log").read_text()
        time.sleep(0.1)


def _free_ports(count: int) -> int:
    """Return the first of several ports in a row that are free."""
    for first in range(16800, 32000, count):
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise OSError("no free ports")
