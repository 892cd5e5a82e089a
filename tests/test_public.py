"""The names that the package shows."""

import doctest
import inspect
import subprocess
import sys

import pytest

import specctl

MODULES = ("augment", "convert", "errors", "training")


def test_names_that_are_loaded_later_are_listed():
    # what a shell completes
    assert {*specctl.__all__, *MODULES, "__doc__"} <= {*dir(specctl)}


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_there_once_the_package_is(name):
    program = f"import specctl; print(specctl.{name}.__name__)"
    said = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert said == f"specctl.{name}\n"


@pytest.mark.parametrize("name", sorted({*specctl.__all__} - {"__version__"}))
def test_every_name_says_what_it_is_and_its_examples_hold(name):
    value = getattr(specctl, name)
    assert inspect.getdoc(value)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(value, name, globs={}):
        assert runner.run(example).failed == 0
