"""Programs in Triton's language; importing any module here imports triton.

Frames of a piece are numbered one item after another: frame ``i`` is at time ``i % n_times`` of
item ``i // n_times``. Blocks of bins run fastest in every grid, so that programs that read the
same samples run side by side. Numbers that differ from file to file are not specialised: each
kind of length would be compiled anew.
"""
