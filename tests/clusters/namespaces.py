"""Several "machines" on one host: network namespaces that are joined by a bridge, each with its own host name."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

NUMBERS = itertools.count()
CAN_RUN = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("ip") is not None
needs_namespaces = pytest.mark.skipif(not CAN_RUN, reason="needs Linux, root and `ip` for network namespaces")


class Machine:
    """A network namespace.

    Args:
        name: Its host name, which all machines resolve.
        address: Its IPv4 address.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.processes: list[subprocess.Popen[str]] = []

    def start(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[str]:
        """Start a command; it and its children end with the process that is returned, as when a machine goes down.

        Args:
            command: The command.
            cwd: Its working directory, which all machines share.
            environment: Its environment variables.
            log: File to which its output is appended.
        """
        # The first process of a PID namespace takes all others with it.
        within = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        named = ["sh", "-c", 'hostname "$0" && exec "$@"', self.name, *command]
        with log.open("a") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *within, *named],
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def children(self, process: subprocess.Popen[str]) -> list[int]:
        """List the processes within a started one, the command itself first."""
        found, parents = [], [process.pid]
        while parents:
            listed = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", ",".join(map(str, parents))], capture_output=True, text=True, check=False
            )
            parents = [int(pid) for pid in listed.stdout.split()]
            found += parents
        return found

    def signal(self, process: subprocess.Popen[str], signum: int) -> None:
        """Send a signal to the command itself, as a container's runtime does."""
        os.kill(self.children(process)[0], signum)

    def kill(self) -> None:
        """Take the machine down: end all of its processes at once."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()


@contextmanager
def machines(count: int = 2) -> Iterator[list[Machine]]:
    """Make machines that reach each other by name, and remove them with all of their processes."""
    number = next(NUMBERS)
    prefix = f"lit{os.getpid() % 10000}{number}"
    made = [Machine(f"{prefix}n{i}", f"10.77.{number % 250}.{i + 1}") for i in range(count)]
    bridge = f"{prefix}b"
    hosts = "127.0.0.1 localhost\n" + "".join(f"{machine.address} {machine.name}\n" for machine in made)

    def run(*command: str, check: bool = True) -> None:
        subprocess.run(command, check=check, capture_output=True)

    try:
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "link", "set", bridge, "up")
        for index, machine in enumerate(made):
            run("ip", "netns", "add", machine.name)
            Path("/etc/netns", machine.name).mkdir(parents=True)
            Path("/etc/netns", machine.name, "hosts").write_text(hosts)
            inside, outside = f"eth{prefix[3:]}{index}"[:15], f"{prefix}v{index}"
            run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", machine.name)
            run("ip", "link", "set", outside, "master", bridge, "up")
            run("ip", "-n", machine.name, "link", "set", "lo", "up")
            run("ip", "-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", inside)
            run("ip", "-n", machine.name, "link", "set", inside, "up")
        yield made
    finally:
        for machine in made:
            machine.kill()
            run("ip", "netns", "del", machine.name, check=False)
            shutil.rmtree(Path("/etc/netns", machine.name), ignore_errors=True)
        run("ip", "link", "del", bridge, check=False)
