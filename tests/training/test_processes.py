import pytest
import torch

from specctl.errors import ParameterError
from specctl.training.processes import joined_processes


@pytest.mark.parametrize("rank", [0, 1])
def test_more_processes_than_gpus_are_refused_by_each_before_any_waits(rank, monkeypatch):
    environment = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = "processes must be at most 1 here, one for each CUDA device, got 2; --device cpu"
    with pytest.raises(ParameterError, match=message), joined_processes("auto"):
        pass
