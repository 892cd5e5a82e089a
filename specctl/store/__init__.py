"""HDF5 spectrogram stores and the parts they are merged from.

`layout` has the format, `durable` what makes a file complete or absent, `part` what a worker
writes, `merge` joins parts to a store, `reader` and `dataset` read it, `verify` proves it.
Nothing is imported here: workers need neither h5py nor torch, and both are slow to import.
"""
