"""The Fourier transform on a CPU, compiled for the machine it runs on when it is first needed.

A register of a CPU holds 4 to 16 numbers. Most FFT libraries spread one transform over them and
pay for moving numbers between the lanes of a register. Here each lane holds a frame of its own:
as many frames as there are lanes go through window, FFT, power, mel bands and logarithm side by
side, nothing ever crosses lanes in between, and a frame's numbers depend on its own samples only.

``plan`` divides an FFT length into steps, ``code`` writes vector instructions as if they were
arithmetic, ``butterflies`` and ``stages`` are the arithmetic, ``specctl.compiler`` hands it to
LLVM (30 ms, in this process, none to install) and ``spectrogram`` runs the result on arrays.
``bands`` is what follows the products of frames with a trained basis, forth and back.
Nothing here imports torch.
"""
