"""Failures in a row: when there are so many that something else than the files is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class _Ends(NamedTuple):
    """Failures with which a part begins and ends, and how many files it has."""

    first: int
    last: int
    n_files: int


@dataclass(frozen=True, slots=True)
class Streaks:
    """Failures in a row in the order of the plan, whatever the order in which parts are made.

    ``most`` of them are too many.
    """

    most: int
    _parts: dict[int, _Ends] = field(default_factory=dict)

    def add(self, number: int, failed: Sequence[bool]) -> int | None:
        """Count a part, of which some files failed.

        Returns
        -------
        int or None
            The place in the part of the file that is one failure too many, if one is; the part
            does not count then.
        """
        in_a_row = self._before(number)
        for place, is_failed in enumerate(failed):
            in_a_row = in_a_row + 1 if is_failed else 0
            if in_a_row >= self.most:
                return place
        if in_a_row and in_a_row + self._after(number) >= self.most:
            return len(failed) - 1
        self._parts[number] = _Ends(_leading(failed), _leading(failed[::-1]), len(failed))
        return None

    def _before(self, number: int) -> int:
        total = 0
        while (part := self._parts.get(number := number - 1)) is not None:
            total += part.last
            if part.last < part.n_files:
                break
        return total

    def _after(self, number: int) -> int:
        total = 0
        while (part := self._parts.get(number := number + 1)) is not None:
            total += part.first
            if part.first < part.n_files:
                break
        return total


def _leading(failed: Sequence[bool]) -> int:
    return failed.index(False) if False in failed else len(failed)
