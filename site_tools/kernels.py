"""Kernels for notebooks, forked from one process that has imported what takes longer than most snippets: torch.

`python kernels.py` is that process. It reads a kernel's arguments, folder and environment from each line, as JSON, and
answers with the id of the process that it forked. Kernels have nothing in common but these imports.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner


class Process(psutil.Process):
    """A process that is not a child of this one, as jupyter_client wants it: like subprocess.Popen."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return None if self.is_running() else 0


class Forked(LocalProvisioner):
    """Starts a kernel as a fork of the server, on Linux: Windows cannot fork, and macOS not once torch is imported."""

    server: subprocess.Popen | None = None  # one for all kernels of this process; it ends when this process does

    async def launch_kernel(self, cmd: list[str], **options) -> dict:
        if sys.platform != "linux":
            return await super().launch_kernel(cmd, **options)
        if not Forked.server:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            Forked.server = subprocess.Popen([sys.executable, __file__], **pipes)
        line = [cmd[cmd.index("-f") :], options["cwd"], options["env"]]
        print(json.dumps(line), file=Forked.server.stdin, flush=True)
        self.process = Process(int(Forked.server.stdout.readline()))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class Manager(AsyncKernelManager):
    """A kernel manager whose kernels are forked."""

    def __init__(self, **options):
        super().__init__(**options)
        self.provisioner = Forked(parent=self, kernel_spec=self.kernel_spec)


def serve() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in tests/conftest.py; torch reads it when it is imported
    import matplotlib.pyplot  # noqa: F401, PLC0415
    from ipykernel.kernelapp import IPKernelApp  # noqa: PLC0415

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for line in sys.stdin:
        arguments, folder, environment = json.loads(line)
        if any(b"import torch" in path.read_bytes() for path in Path(folder).glob("*.py")):
            import torch  # noqa: F401, PLC0415
        if pid := os.fork():
            print(pid, flush=True)
            continue
        for pipe in (0, 1):  # they are the server's
            os.dup2(os.open(os.devnull, os.O_RDWR), pipe)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()  # signals go to the group
        os.environ.update(environment)
        os.chdir(folder)
        del sys.path[0]  # the folder of this file
        IPKernelApp.launch_instance(argv=[*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])  # ends with it
        return


if __name__ == "__main__":
    serve()
