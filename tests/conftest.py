"""Threads of torch that have nothing to do leave their cores to the tests that run beside."""

import os

# libgomp reads it once, when torch is imported; as many threads compute the same numbers
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
