"""Peak memory of a text larger than memory: tokenize it, map the tokens, read blocks at random.

    python benchmarks/text_memory.py --gigabytes 10 --folder /tmp

It renders a `language_model` project, writes a text of that size (English of the standard library, numbered, so that no
two pages are alike) into a temporary folder, and lets a child process make and use the project's datamodule. The folder
needs twice the size, and is removed. For characters and for bytes, it prints the seconds and megabytes per second of

- the first use, which reads the text and writes the tokens (characters read it twice: first for the vocabulary),
- the second use, which finds the tokens in the cache,

and the peak of the child's anonymous memory (`RssAnon` of /proc, polled) above what its imports take. Pages of the
mapped file are not in it: the kernel drops them whenever memory is short. Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from pydoc_data.topics import topics

from cookiecutter.main import cookiecutter

REPO = Path(__file__).parents[1]
CHILD = """
import sys, time
import torch
from text_project.datamodule import LitDataModule

path, cache, tokens, blocks = sys.argv[1:]
print(flush=True)  # imports are done
input()
for use in range(2):
    start = time.perf_counter()
    data = LitDataModule(path=path, tokens=tokens, cache_dir=cache)
    data.setup("fit")
    print(time.perf_counter() - start, flush=True)
train = data.blocks["train"]
for row in torch.randint(len(train), (int(blocks),)).tolist():
    x, y = train[row]
    assert torch.equal(x[1:], y[:-1])
print(len(data.corpus), flush=True)
next(iter(data.train_dataloader()))  # shuffles all blocks
print(flush=True)
input()
"""


def write_text(path: Path, size: int) -> None:
    """Write at least `size` bytes of English."""
    page = "\n\n".join(topics.values()).encode()
    with path.open("wb") as file:
        number = 0
        while file.tell() < size:
            file.write(b"%d\n%s\n" % (number, page))
            number += 1


class PeakMemory(threading.Thread):
    """Poll the anonymous memory of a process.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.status = Path(f"/proc/{pid}/status")
        self.peak = 0
        self.now = 0

    def run(self) -> None:
        while self.read():
            time.sleep(0.01)

    def read(self) -> int:
        """Return the anonymous memory in bytes; 0 once the process has ended."""
        try:
            lines = self.status.read_text().splitlines()
        except OSError:
            return 0
        self.now = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)
        self.peak = max(self.peak, self.now)
        return self.now


def measure(project: Path, text: Path, tokens: str, blocks: int) -> dict[str, float]:
    """Use the text in a child process; return seconds, megabytes per second and megabytes of memory."""
    command = [sys.executable, "-c", CHILD, str(text), str(text.parent / "cache"), tokens, str(blocks)]
    environment = {"PYTHONPATH": str(project / "src"), "PATH": "", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=text.parent
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def answer() -> str:
            assert child.stdout is not None
            return child.stdout.readline().strip()

        answer()
        memory = PeakMemory(child.pid)
        memory.read()
        imported = memory.now
        memory.start()
        print(file=child.stdin, flush=True)
        first, second = float(answer()), float(answer())
        count = int(answer())
        reading = memory.peak
        answer()
        shuffling = memory.peak
        print(file=child.stdin, flush=True)
    megabytes = text.stat().st_size / 1e6
    return {
        "megabytes of text": megabytes,
        "tokens": count,
        "first use, s": first,
        "first use, MB/s": megabytes / first,
        "second use, s": second,
        "memory after imports, MB": imported / 1e6,
        "peak above it, MB": (reading - imported) / 1e6,
        "peak above it with the shuffled loader, MB": (shuffling - imported) / 1e6,
    }


def main() -> None:
    """Measure, and print a line of JSON per kind of tokens."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--folder", default=None, help="where the temporary folder is made")
    parser.add_argument("--tokens", nargs="+", default=["characters", "bytes"])
    parser.add_argument("--blocks", type=int, default=10_000, help="blocks to read at random")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        context = {"project_slug": "text_project", "task": "language_model"}
        project = cookiecutter(
            str(REPO), no_input=True, extra_context=context, output_dir=folder, accept_hooks=False, default_config=True
        )
        text = Path(folder, "large.txt")
        write_text(text, int(given.gigabytes * 1e9))
        for tokens in given.tokens:
            measured = measure(Path(project), text, tokens, given.blocks)
            print(json.dumps({"kind": tokens} | {name: round(value, 2) for name, value in measured.items()}))
            for cached in Path(folder, "cache").iterdir():
                cached.unlink()


if __name__ == "__main__":
    main()
