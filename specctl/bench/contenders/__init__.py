"""Who is measured: specctl's kernels and what people use today, each made to compute the same."""

from specctl.bench.contenders.catalogue import find_contender, listed_contenders

__all__ = ["find_contender", "listed_contenders"]
