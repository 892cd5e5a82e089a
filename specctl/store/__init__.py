"""HDF5 spectrogram stores and the parts they are merged from.

`layout` has the format, `chunks` its bytes, compressed by `deflate`; `part` is what a worker
writes, `merge` joins parts to a store, `reader` and `dataset` read it, `verify` proves it.
Nothing is imported here: workers need neither h5py nor torch, and both are slow to import.
"""
