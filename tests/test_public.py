"""The names that the package shows."""

import doctest
import inspect

import pytest

import specctl


def test_names_that_are_loaded_later_are_listed():
    # what a shell completes
    modules = {"augment", "convert", "errors", "training"}
    assert {*specctl.__all__, *modules, "__doc__"} <= {*dir(specctl)}


@pytest.mark.parametrize("name", sorted({*specctl.__all__} - {"__version__"}))
def test_every_name_says_what_it_is_and_its_examples_hold(name):
    value = getattr(specctl, name)
    assert inspect.getdoc(value)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(value, name, globs={}):
        assert runner.run(example).failed == 0
