"""fastdup's own search on given vectors, in an interpreter of its own: it wants older numpy than Curator.

    PYTHON scripts/_fastdup.py VECTORS.npy PAIRS.npy THRESHOLD NEIGHBOURS

PYTHON is one that `pip install fastdup` was run in. Imports nothing of Curator. Its reports home are switched off.
Writes the pairs, (m, 2) positions with the smaller first, and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ["SENTRY_OPT_OUT"] = "1"


def main() -> None:
    import fastdup

    vectors = np.load(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        # features lie in its work folder; the input folder is asked for but not read
        fastdup.save_binary_feature(folder, [f"/{row}.jpg" for row in range(len(vectors))], vectors)
        cpu = time.process_time()
        failed = fastdup.run(
            str(Path(folder).parent), work_dir=folder, run_mode=2, d=vectors.shape[1], threshold=float(sys.argv[3]),
            nearest_neighbors_k=int(sys.argv[4]), num_threads=1,
        )  # fmt: skip
        cpu = time.process_time() - cpu
        if failed:
            raise SystemExit(f"fastdup ended with {failed}")
        lines = Path(folder, "similarity.csv").read_text(encoding="utf-8").splitlines()[1:]
    ends = [[int(Path(name).stem) for name in line.split(",")[:2]] for line in lines]
    np.save(sys.argv[2], np.unique(np.sort(np.array(ends, np.int64).reshape(-1, 2), axis=1), axis=0))
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"version": fastdup.__version__, "cpu_s": cpu, "peak_mb": peak}))


if __name__ == "__main__":
    main()
