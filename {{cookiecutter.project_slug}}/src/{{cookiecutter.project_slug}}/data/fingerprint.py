"""Fingerprints of data, for run.json: did two runs see the same content?"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

WHOLE = 1 << 28  # bytes up to which everything is hashed, a fraction of a second
MOST_FILES = 10_000  # up to which everything is hashed
BLOCKS, BLOCK = 256, 1 << 18  # of more: how many blocks are hashed instead, and bytes of each


def fingerprint(source: str, files: Sequence[str | Path]) -> dict[str, Any]:
    """Hash the content of files, one after the other, as `cat files | sha256sum` does.

    Of more than `WHOLE` bytes or `MOST_FILES` files, only evenly spaced blocks are hashed, from the first to the last.

    Args:
        source: Name of the data.
        files: The files in order; none if they are elsewhere and cannot be hashed.
    """
    sizes = [Path(file).stat().st_size for file in files]
    total, digest = sum(sizes), hashlib.sha256()
    if whole := total <= WHOLE and len(files) <= MOST_FILES:
        for file in files:
            with open(file, "rb") as opened:
                while piece := opened.read(BLOCK):
                    digest.update(piece)
    else:
        ends = list(accumulate(sizes))
        for number in range(BLOCKS):
            position = number * max(0, total - BLOCK) // (BLOCKS - 1)
            index = min(bisect_right(ends, position), len(files) - 1)
            with open(files[index], "rb") as opened:
                opened.seek(position - (ends[index] - sizes[index]))
                digest.update(opened.read(BLOCK))
    hashed = ("everything" if whole else f"{BLOCKS} blocks of {BLOCK} bytes") if files else "nothing"
    sha256 = digest.hexdigest() if files else None
    return {"source": source, "files": len(files), "bytes": total, "sha256": sha256, "hashed": hashed}


def fingerprint_of_bytes(source: str, content: bytes) -> dict[str, Any]:
    """Hash data that come with a package."""
    sha256 = hashlib.sha256(content).hexdigest()
    return {"source": source, "files": 0, "bytes": len(content), "sha256": sha256, "hashed": "everything"}
