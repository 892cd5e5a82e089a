import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specctl.config import SpectrogramConfig, StftConfig
from specctl.dsp.mel import mel_weights
from specctl.errors import ParameterError

FULL = SpectrogramConfig.resolve(feature="mfcc")
OTHER_VALUES = {
    "sample_rate": 44100,
    "n_fft": 4096,
    "win_length": 1000,
    "hop_length": 100,
    "window": "hamming",
    "center": False,
    "pad_mode": "reflect",
    "power": 1.0,
    "n_mels": 40,
    "fmin": 20.0,
    "fmax": 8000.0,
    "mel_scale": "htk",
    "mel_norm": "none",
    "n_mfcc": 13,
    "lifter": 22.0,
    "scale": "ln",
    "ref": "max",
    "amin": 1e-8,
    "top_db": 60.0,
}


def valid_keywords():
    """Settings of any feature that resolve."""
    common = {
        "n_fft": st.integers(2, 4096),
        "hop_length": st.integers(1, 5000),
        "window": st.sampled_from(["hann", "hamming", "blackman", "boxcar"]),
        "center": st.booleans(),
        "pad_mode": st.sampled_from(["constant", "reflect", "edge"]),
        "sample_rate": st.integers(1, 384_000),
    }
    bands = {
        **common,
        # fewer have no bin between those of 0 Hz and of half the rate
        "n_fft": st.integers(3, 4096),
        "n_mels": st.integers(20, 200),
        "power": st.floats(0.1, 4),
        "mel_scale": st.sampled_from(["slaney", "htk"]),
        "mel_norm": st.sampled_from(["slaney", "none"]),
        "ref": st.just("max") | st.floats(1e-6, 1e6),
        "top_db": st.none() | st.floats(1, 200),
    }
    return st.one_of(
        st.fixed_dictionaries(
            {"feature": st.sampled_from(["complex", "magnitude", "power"])}, optional=common
        ),
        st.fixed_dictionaries({"feature": st.just("mel")}, optional=bands),
        st.fixed_dictionaries(
            {"feature": st.just("mfcc")}, optional={**bands, "n_mfcc": st.integers(1, 20)}
        ),
    )


def test_every_field_of_a_resolved_config_holds_the_number_that_is_used():
    config = SpectrogramConfig.resolve()
    assert config.to_dict() == {
        "sample_rate": 22050,
        "n_fft": 2048,
        "win_length": 2048,
        "hop_length": 512,
        "window": "hann",
        "center": True,
        "pad_mode": "constant",
        "feature": "mel",
        "power": 2.0,
        "n_mels": 128,
        "fmin": 0.0,
        "fmax": 11025.0,
        "mel_scale": "slaney",
        "mel_norm": "slaney",
        "n_mfcc": None,
        "lifter": None,
        "scale": "db",
        "ref": 1.0,
        "amin": 1e-10,
        "top_db": None,
    }


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        ({"n_fft": 1000}, {"win_length": 1000, "hop_length": 250}),
        ({"n_fft": 1000, "win_length": 402}, {"hop_length": 100}),
        ({"n_fft": 3}, {"win_length": 3, "hop_length": 1}),
        ({"n_fft": 1024.0}, {"win_length": 1024, "hop_length": 256}),
        ({"sample_rate": 16000}, {"fmax": 8000.0}),
        ({"power": 1.0}, {"amin": 1e-5}),
        ({"feature": "magnitude", "scale": "db"}, {"amin": 1e-5, "ref": 1.0, "power": 1.0}),
        ({"feature": "mfcc"}, {"top_db": 80.0, "n_mfcc": 20, "scale": "db"}),
        ({"feature": "mfcc", "top_db": None}, {"top_db": None}),
        ({"feature": "power"}, {"scale": "none", "amin": None, "n_mels": None}),
        ({"feature": "complex"}, {"power": None, "scale": "none"}),
        ({"preset": "speech-16k"}, {"sample_rate": 16000, "hop_length": 160, "n_mels": 80}),
        ({"preset": "speech-16k", "n_mels": 40}, {"n_mels": 40, "hop_length": 160}),
        ({"preset": "panns-32k", "feature": "power"}, {"n_mels": None, "pad_mode": "reflect"}),
    ],
)
def test_what_is_not_given_follows_from_what_is(given, derived):
    config = SpectrogramConfig.resolve(**given)
    assert {name: getattr(config, name) for name in derived} == derived


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hop": 1}, "there is no setting 'hop'"),
        ({"hop_lenght": 1}, "there is no setting 'hop_lenght'; did you mean hop_length"),
        ({"preset": "librosaa"}, "preset must be one of librosa, .*, got 'librosaa'"),
        ({"feature": "mell"}, "feature must be one of complex, .*, got 'mell'"),
        ({"window": "hanning"}, "window must be 'hann', .*, got 'hanning'"),
        ({"n_fft": 1}, "n_fft must be greater than or equal to 2, got 1"),
        ({"n_fft": 2**20 + 1}, "n_fft must be less than or equal to 1048576"),
        ({"n_fft": "big"}, "n_fft must be a valid integer.*, got 'big'"),
        ({"n_fft": 3.5}, "n_fft must be .*integer.*, got 3.5"),
        ({"n_fft": float("inf")}, "n_fft must be a finite number, got inf"),
        ({"sample_rate": "high"}, "sample_rate must be a valid integer.*, got 'high'"),
        ({"sample_rate": 0}, "sample_rate must be greater than 0, got 0"),
        ({"win_length": 2049}, r"win_length must be in \[1, n_fft=2048\], got 2049"),
        ({"win_length": 0}, "win_length must be greater than 0, got 0"),
        ({"hop_length": -1}, "hop_length must be greater than 0, got -1"),
        ({"fmin": -1}, "fmin must be greater than or equal to 0, got -1"),
        ({"fmin": 9000, "fmax": 9000}, "fmin must be below fmax=9000, got 9000"),
        ({"fmax": 11026}, "fmax must be at most half the sample rate, 11025 Hz, got 11026"),
        (
            {"sample_rate": 16000, "n_fft": 256, "fmin": 3970, "fmax": 3990, "n_mels": 4},
            "fmin and fmax must have a bin of the FFT between them for n_mels=4, bins are 62.5 Hz "
            "apart with n_fft=256, got 3970 and 3990; raise n_fft",
        ),
        # bins on the edges are in no band
        ({"sample_rate": 1024, "n_fft": 64, "fmin": 16, "fmax": 32}, "must have a bin of the FFT"),
        ({"n_fft": 2}, "bins are 11025 Hz apart with n_fft=2, got 0 and 11025; raise n_fft"),
        ({"power": 0}, "power must be greater than or equal to 0.001, got 0"),
        ({"power": "two"}, "power must be a valid number.*, got 'two'"),
        ({"power": float("inf")}, "power must be a finite number, got inf"),
        ({"power": 1e30}, r"power must be less than or equal to 32, got 1e\+30"),
        ({"power": 1e-310}, "power must be greater than or equal to 0.001, got 1e-310"),
        ({"ref": "mean"}, "ref must be .*, got 'mean'"),
        ({"ref": float("inf")}, "ref must be a finite number, got inf"),
        ({"top_db": float("nan")}, "top_db must be .*, got nan"),
        ({"power": -100}, "power must be greater than or equal to 0.001, got -100"),
        ({"amin": 0}, "amin must be greater than 0, got 0"),
        ({"scale": "dB"}, "scale must be 'none', 'db', .*, got 'dB'"),
        (
            {"feature": "mfcc", "n_mels": 10, "n_mfcc": 11},
            r"n_mfcc must be in \[1, n_mels=10\], got 11",
        ),
        (
            {"feature": "complex", "scale": "db"},
            "scale must be 'none' with feature 'complex', got 'db'",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(given, message):
    with pytest.raises(ParameterError, match=message):
        SpectrogramConfig.resolve(**given)


@pytest.mark.parametrize("fmax", [32.1, 48])
def test_a_single_bin_in_all_bands_is_enough(fmax):
    given = {"sample_rate": 1024, "n_fft": 64, "fmin": 16, "fmax": fmax, "n_mels": 8}
    config = SpectrogramConfig.resolve(**given)
    assert mel_weights(config).any()


def test_stored_settings_may_have_empty_bands():
    given = {"sample_rate": 1024, "n_fft": 64, "fmin": 16, "fmax": 33}
    stored = {**SpectrogramConfig.resolve(**given).to_dict(), "fmax": 32}
    assert SpectrogramConfig.from_dict(stored).fmax == 32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"feature": "power", "n_mels": 80}, "n_mels has no effect with feature 'power'"),
        ({"feature": "complex", "fmin": 0}, "fmin has no effect with feature 'complex'"),
        ({"feature": "magnitude", "power": 2}, "power has no effect with feature 'magnitude'"),
        ({"feature": "mel", "n_mfcc": 13}, "n_mfcc has no effect with feature 'mel'"),
        ({"feature": "mel", "lifter": 22}, "lifter has no effect with feature 'mel'"),
        ({"scale": "none", "top_db": 80}, "top_db has no effect with scale 'none'"),
        ({"feature": "power", "ref": 1}, "ref has no effect with scale 'none'"),
        ({"feature": "complex", "amin": 1}, "amin has no effect with feature 'complex'"),
    ],
)
def test_a_setting_without_effect_is_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        SpectrogramConfig.resolve(**given)


@given(valid_keywords())
def test_a_config_survives_a_store(keywords):
    config = SpectrogramConfig.resolve(**keywords)
    again = SpectrogramConfig.from_dict(json.loads(config.to_json()))
    assert again == config
    assert again.fingerprint() == config.fingerprint()


@given(valid_keywords())
def test_resolving_what_is_resolved_changes_nothing(keywords):
    config = SpectrogramConfig.resolve(**keywords)
    again = config.to_dict()
    if config.n_mels is None:
        # the exponent is the feature's own there and cannot be given
        del again["power"]
    assert SpectrogramConfig.resolve(**again) == config


@given(valid_keywords())
def test_what_a_config_was_given_resolves_to_it(keywords):
    config = SpectrogramConfig.resolve(**keywords)
    assert SpectrogramConfig.resolve(**config.given()) == config


@given(valid_keywords(), valid_keywords())
def test_fingerprints_differ_exactly_where_configs_do(one, other):
    first, second = SpectrogramConfig.resolve(**one), SpectrogramConfig.resolve(**other)
    assert (first == second) == (first.fingerprint() == second.fingerprint())


@pytest.mark.parametrize("name", [*OTHER_VALUES, "feature"])
def test_a_fingerprint_sees_every_field(name):
    assert {*OTHER_VALUES, "feature"} == set(SpectrogramConfig.model_fields)
    if name == "feature":
        other = SpectrogramConfig.resolve(feature="mel", top_db=80.0)
    else:
        other = SpectrogramConfig.resolve(**{**FULL.to_dict(), name: OTHER_VALUES[name]})
    assert other.fingerprint() != FULL.fingerprint()


def test_a_fingerprint_is_the_same_on_every_machine():
    assert SpectrogramConfig.resolve().fingerprint() == (
        "4eacd9d6079b69e3e05b25f46f82ba909760987f2d0fa74ab25c7eb83481e28b"
    )


@pytest.mark.parametrize("value", [True, False, np.True_], ids=str)
@pytest.mark.parametrize("name", [name for name in OTHER_VALUES if name != "center"])
def test_a_boolean_is_no_number(name, value):
    with pytest.raises(ParameterError, match=f"^{name} must be .*, got .*{value}"):
        SpectrogramConfig.resolve(feature="mfcc", **{name: value})
    with pytest.raises(ParameterError, match=f"^{name} must be .*, got .*{value}"):
        SpectrogramConfig.from_dict({**FULL.to_dict(), name: value})


@pytest.mark.parametrize("value", [True, False, np.False_], ids=str)
def test_a_boolean_is_taken_where_it_is_one(value):
    assert SpectrogramConfig.resolve(center=value).center is bool(value)


def test_a_boolean_in_toml_is_no_number(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("sample_rate = true\n")
    with pytest.raises(ParameterError, match="^sample_rate must be a number, got True$"):
        SpectrogramConfig.from_toml(path)


def test_a_number_may_still_be_a_text_or_one_of_numpy():
    config = SpectrogramConfig.resolve(sample_rate="8000", n_fft=512.0, n_mels=np.int64(40))
    assert (config.sample_rate, config.n_fft, config.n_mels) == (8000, 512, 40)


def test_settings_may_begin_with_the_mark_of_utf8(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("n_fft = 512\n", encoding="utf-8-sig")
    assert SpectrogramConfig.from_toml(path).n_fft == 512


def test_settings_come_from_toml(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('preset = "speech-16k"\nn_mels = 40\nfmin = 20\nref = "max"\n')
    config = SpectrogramConfig.from_toml(path)
    wanted = SpectrogramConfig.resolve("speech-16k", n_mels=40, fmin=20.0, ref="max")
    assert config == wanted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n_mels = ", r"settings are not TOML: .*settings\.toml: "),
        (b"\xff\xfe", r"settings are not TOML: .*settings\.toml: "),
        (b"n_mel = 3", "there is no setting 'n_mel'; did you mean n_mels"),
        (b"[mel]\nn_mels = 3", "there is no setting 'mel'"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path, content, message):
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=message):
        SpectrogramConfig.from_toml(path)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "nothing.toml"
    with pytest.raises(ParameterError, match=f"cannot read settings: {re.escape(str(path))}: No"):
        SpectrogramConfig.from_toml(path)


@pytest.mark.parametrize(
    "change",
    [
        {"n_mels": None},
        {"power": None},
        {"fmax": None},
        {"amin": None},
        {"feature": "complex"},
        {"feature": "power", "power": 3.0},
        {"scale": "none"},
        {"n_mfcc": 13},
        {"n_fft": 1},
        {"more": 1},
        {"n_fft": None},
    ],
    ids=str,
)
def test_a_stored_config_that_does_not_hold_together_is_refused(change):
    stored = {**SpectrogramConfig.resolve().to_dict(), **change}
    with pytest.raises(ParameterError):
        SpectrogramConfig.from_dict(stored)


def test_a_stored_config_with_a_field_missing_is_refused():
    stored = SpectrogramConfig.resolve().to_dict()
    del stored["hop_length"]
    with pytest.raises(ParameterError, match="setting 'hop_length' is missing"):
        SpectrogramConfig.from_dict(stored)


def test_a_config_made_without_resolve_says_how():
    with pytest.raises(
        ParameterError, match="'n_fft' is missing; SpectrogramConfig.resolve fills"
    ):
        SpectrogramConfig(sample_rate=16000)
    config = SpectrogramConfig.resolve()
    assert SpectrogramConfig(**config.to_dict()) == config


def test_toml_can_say_that_there_is_no_top_db(tmp_path):
    file = tmp_path / "mfcc.toml"
    file.write_text('feature = "mfcc"\ntop_db = "none"\n')
    assert SpectrogramConfig.from_toml(file).top_db is None
    file.write_text('feature = "mfcc"\n')
    assert SpectrogramConfig.from_toml(file).top_db == 80.0


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        SpectrogramConfig.resolve().n_fft = 4


def test_an_stft_config_resolves_alone():
    config = StftConfig.resolve(n_fft=400)
    assert (config.hop_length, config.n_freqs, config.padding) == (100, 201, 200)


@pytest.mark.parametrize(
    ("given", "needs_peak"),
    [({}, False), ({"ref": "max"}, True), ({"top_db": 80}, True), ({"feature": "mfcc"}, True)],
)
def test_says_whether_a_value_depends_on_its_whole_item(given, needs_peak):
    assert SpectrogramConfig.resolve(**given).needs_peak == needs_peak


@pytest.mark.parametrize(
    ("power", "amin"), [(0.5, 10**-2.5), (1.0, 1e-5), (2.0, 1e-10), (7.5, 10**-37.5)]
)
def test_the_floor_is_100_db_down_where_float32_reaches(power, amin):
    assert SpectrogramConfig.resolve(power=power).amin == amin


@pytest.mark.parametrize("power", [7.6, 10.0, 32.0])
def test_the_floor_is_no_lower_than_float32_reaches(power):
    assert SpectrogramConfig.resolve(power=power).amin == 2.0**-126


def test_a_floor_below_float32_is_refused():
    with pytest.raises(ParameterError, match=r"amin must be at least 1\.18e-38, .*, got 1e-50"):
        SpectrogramConfig.resolve(amin=1e-50)


@pytest.mark.parametrize("amin", [3.5e38, 1e300])
@pytest.mark.parametrize("settings", [{}, {"power": 3.0}, {"scale": "pcen"}], ids=str)
def test_a_floor_above_float32_is_refused(amin, settings):
    with pytest.raises(ParameterError, match=r"^amin must be at most 3\.4e\+38, "):
        SpectrogramConfig.resolve(amin=amin, **settings)
