import pytest

from specctl.errors import ParameterError
from specctl.launch import Launch, read_launch


def set_environment(monkeypatch, given):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("given", "launch", "is_first"),
    [
        ({}, Launch(), True),
        ({"RANK": "1"}, Launch(), True),
        ({"RANK": "2", "WORLD_SIZE": "1"}, Launch(), True),
        ({"RANK": "none"}, Launch(), True),
        ({"RANK": "0", "WORLD_SIZE": "2"}, Launch(0, 2), True),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Launch(3, 4, 1, 2), False),
        (
            {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "3"},
            Launch(3, 4, 1, 3),
            False,
        ),
    ],
)
def test_a_process_is_alone_unless_there_are_several(given, launch, is_first, monkeypatch):
    set_environment(monkeypatch, given)
    assert read_launch() == launch
    assert read_launch().is_first == is_first


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"WORLD_SIZE": "x"}, "WORLD_SIZE must be a whole number of at least 1, got 'x'; torchr"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE must be a whole number of at least 1, got ''"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE must be a whole number of at least 1, got '0'"),
        ({"WORLD_SIZE": "2", "RANK": ""}, "RANK must be a whole number of at least 0, got ''"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK must be a whole number of at least 0, got '-1'"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK must be less than WORLD_SIZE=2, got 2; torchrun"),
        ({"LOCAL_RANK": "²"}, "LOCAL_RANK must be a whole number of at least 0, got '²'"),
    ],
)
def test_values_that_cannot_be_are_named(given, text, monkeypatch):
    set_environment(monkeypatch, given)
    with pytest.raises(ParameterError) as caught:
        read_launch()
    assert str(caught.value).startswith(text)
