"""Kernels: one transform, several implementations that must agree.

``base`` says what a kernel is and what it is asked for, ``registry`` knows them all and
chooses, ``blocks`` runs one over a waveform in blocks that stay in cache. Every kernel obeys
five laws, held by one table of cases in ``tests/kernels/test_laws.py``: it equals the float64
reference; an item does not depend on its batch; the number of frames is ``config.n_frames``;
silence gives silence; gradients are those of the reference.
"""
