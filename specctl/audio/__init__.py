"""From folders of audio files to checked float32 samples; silent, knows nothing of stores.

- ``formats``: which file names are taken for audio; standard library only.
- ``names``: names of files as text, reversibly: keys.
- ``discover``: folders and files in, sorted sources with unique keys out.
- ``source``: one regular file behind one descriptor, and views into it.
- ``scratch``: memory for a moment; ``times``: when a file was changed.
- ``integrity``: is the file whole? Walks the structure (``containers``, ``ogg``, ``mpeg`` over
  ``mpeg_frames``) and says what the decoder is to be given.
- ``probe``: sample rate, channels and declared length from the header alone; of the commonest
  files ``headers`` and ``wave`` read it without a decoder.
- ``soundfile_backend`` (over ``sound_file``, with ``machine_code`` for what libsndfile calls),
  ``av_backend``, ``wave_backend``: the decoders, behind the interface of ``info``.
- ``reasons``: the words in which a file is refused.
- ``decode``: ``open_audio``, blocks of samples that are proven complete.
- ``resample``: streaming resampling and mixing, the same numbers as librosa.

Nothing is imported here: listing a folder must not wait for NumPy.
"""
