"""When a file was changed, as an index keeps it."""

import os


def modification_time(status: os.stat_result) -> int:
    """Nanoseconds since 1970, as far as 64 bits take them: from 1677 to 2262."""
    return max(-(2**63), min(status.st_mtime_ns, 2**63 - 1))
