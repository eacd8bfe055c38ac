from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

from .kernel import SqlllmKernel

if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=SqlllmKernel)
