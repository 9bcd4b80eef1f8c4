"""What a table has to say of the machine and the programs that it was made with."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path


def missing(tools: list) -> list:
    return [tool for tool in tools if shutil.which(tool) is None]


def first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter((done.stdout or done.stderr).strip().splitlines()), "?")


def machine(used: int = 2) -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = Path("/proc/cpuinfo").read_text().split()
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    sha = "with" if "sha_ni" in flags else "without"
    return (f"{model[1] if model else platform.machine()} ({sha} SHA instructions), {os.cpu_count()} CPUs of which {used} are used, "
            f"{memory / 2**30:.0f} GiB, Linux {platform.release()}")
