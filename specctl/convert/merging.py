"""After the last part: one store, under its name, and nothing beside it."""

from pathlib import Path

import numpy as np

from specctl.convert.folder import WorkFolder
from specctl.convert.jobs import Description, Job, part_path
from specctl.convert.settings import ConvertConfig
from specctl.errors import StoreError
from specctl.store.durable import publish
from specctl.store.layout import Layout
from specctl.store.merge import MergeSummary, merge_parts
from specctl.version import __version__


def merge_job(
    folder: WorkFolder,
    job: Job,
    n_parts: int,
    *,
    layout: Layout,
    frequencies: np.ndarray,
    description: Description,
) -> MergeSummary:
    """Join all parts of a job, publish the store, remove the working folder.

    Raises
    ------
    StoreError
        If the disk cannot take the store; the parts stay.
    """
    config = ConvertConfig.from_dict(job.config)
    base: Path | None = folder.store if job.update else None
    try:
        summary = merge_parts(
            [part_path(folder.path, number) for number in range(n_parts)],
            folder.merged,
            layout=layout,
            frequencies=frequencies,
            attributes={
                "config": config.to_json(),
                "fingerprint": config.fingerprint(),
                "specctl_version": __version__,
                "job": job.id,
                "request": job.request,
                "kernel": description.kernel,
                "device": description.devices[0].partition(":")[0],
            },
            units=config.units,
            long_name=config.long_name,
            base=base,
            replaced=job.replaced,
        )
    except StoreError as error:
        if folder.remove_damaged(n_parts):
            raise StoreError(f"{error}; the same command makes it again") from error
        raise
    publish(folder.merged, folder.store)
    folder.remove()
    return summary
