"""The process that memory is measured in: ``python -m specctl.bench.child TASK ANSWER``."""

import sys
import warnings
from pathlib import Path

from specctl.bench.memory import measure_and_write

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    measure_and_write(sys.argv[1], Path(sys.argv[2]))
