"""The job behind ``specctl bench``: speed, memory and error in one table; silent.

``workload`` says what is computed, ``contenders`` who computes it, ``accuracy`` and ``checks``
whether the numbers are right, ``timing`` and ``memory`` what they cost, ``doubts`` why the figures
may be wrong. ``run`` puts them together, ``results`` holds what came of it, ``page`` draws it.
"""

from specctl.bench.request import Request
from specctl.bench.results import Cell, Report
from specctl.bench.run import run_bench
from specctl.bench.workload import Workload

__all__ = ["Cell", "Report", "Request", "Workload", "run_bench"]
