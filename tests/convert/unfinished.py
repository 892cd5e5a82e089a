"""Conversions that are stopped on the way, as a user would."""

import pytest

from specctl import convert_audio
from specctl.convert import Control, Options, Stopped


def stop_after_parts(folder, store, n_parts, options: Options, **settings):
    """Stop a conversion when so many parts of one file each are done."""
    control = Control()

    def look(progress):
        if progress.stage == "converting" and progress.n_done >= n_parts:
            control.stop()

    with pytest.raises(Stopped, match="parts are done; the same command goes on from there"):
        convert_audio(folder, store, options=options, control=control, progress=look, **settings)
