"""The trials of torture that are about inputs: one of each sees what is wrong, and no more."""

from tests.convert.bad_audio import wav
from tests.faults import torture_inputs
from tests.fuzz.targets import TARGETS


def test_damage_that_is_seen_is_not_wrong(monkeypatch):
    monkeypatch.setattr(torture_inputs, "N_FLIPS_AT_ONCE", 10)
    assert torture_inputs.flips("complex", seed=1) == []
    assert torture_inputs.fuzzing("labels", seed=1, seconds=0) == []


def test_of_bad_files_only_a_good_one_among_them_is_noticed(monkeypatch):
    made_up = torture_inputs._made_up
    monkeypatch.setattr(
        torture_inputs, "_made_up", lambda n: ("x.wav", wav()) if n == 1007 else made_up(n)
    )
    assert torture_inputs.bad_audio(1000) == [
        "taken for good: bad/07 1007 x.wav",
        "lost or new: bad/07 1007 x.wav",
    ]


def test_sections_have_all_trials():
    bad, fuzzing = torture_inputs.bad_audio_section(), torture_inputs.fuzz_section()
    assert len(bad.trials) * torture_inputs.N_BAD_AT_ONCE == torture_inputs.N_BAD == 2000
    flipped = torture_inputs.flip_section()
    assert len(flipped.trials) * torture_inputs.N_FLIPS_AT_ONCE >= torture_inputs.N_FLIPS
    # more than an hour
    assert len(fuzzing.trials) * torture_inputs.FUZZ_SECONDS > 3600
    assert {name.partition(",")[0] for name in fuzzing.trials} == set(TARGETS)
