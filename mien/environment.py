"""What a result depends on besides the experiment: versions, commit, hardware, precision."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mien import __version__
from mien.errors import MienError
from mien.extras import is_installed

_PACKAGES = ("torch", "pytorch-lightning", "kornia", "numpy", "scikit-learn", "pyarrow", "pillow")


def describe() -> dict[str, Any]:
    """Versions, commit and hardware of this process as plain data; the GPUs and threads are those that torch sees."""
    found: dict[str, Any] = {
        "mien": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }
    if is_installed("torch"):
        import torch

        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found["threads"] = torch.get_num_threads()
    return found


def commit() -> str | None:
    """The git commit of mien's own source, with '+' when tracked files differ from it; None outside a clone."""
    folder = Path(__file__).parent
    git = shutil.which("git")
    if git is None or not (folder.parent / ".git").exists():
        return None
    # Without tags it describes a commit by its digits alone.
    words = [git, "-C", str(folder), "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def device(wanted: str) -> str:
    """The device that a name stands for here: "auto" is "cuda" where there is one, else "cpu".

    It also turns TF32 off: by default torch rounds float32 convolutions on a GPU to TF32, with 10 bits of mantissa.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise MienError("this machine has no CUDA device", key="train.device", expected="cpu or auto")
    return ("cuda" if there else "cpu") if wanted == "auto" else wanted


def check_devices(number: int, on: str) -> None:
    """Raise MienError unless this machine has so many devices of a kind, "cpu" or "cuda"; of a CPU these are cores."""
    import torch

    there = torch.cuda.device_count() if on == "cuda" else os.cpu_count() or 1
    if number > there:
        what = "CUDA device" if on == "cuda" else "core"
        raise MienError(
            f"this machine has {there} {what}{'' if there == 1 else 's'}, and the training is on {number}",
            key="train.devices",
            expected=f"at most {there}",
        )


def precision(wanted: str, on: str) -> str:
    """The precision that a name stands for on a device: "auto" is bfloat16 where the hardware has it, else float32.

    On a CPU that means AMX tiles, or AVX-512's bfloat16 products; on a GPU, compute capability 8.0 and newer.
    """
    import torch

    if wanted != "auto":
        return wanted
    if on == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32"
    products = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if products else "float32"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
