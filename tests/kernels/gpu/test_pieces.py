import pytest
import torch

from specctl.dsp.mel import mel_filterbank
from specctl.kernels.bands import Bands
from specctl.kernels.gpu.banding import Layout, banding_for, used_bins
from specctl.kernels.gpu.pieces import pieces
from specctl.kernels.gpu.tiles import TILES
from tests.dsp.signals import noise

from .chains import config_of


@pytest.mark.parametrize("n_items", [0, 1, 5])
@pytest.mark.parametrize("n_times", [1, 9, 10, 11, 35])
def test_pieces_hold_every_frame_once_and_no_more_than_fit(n_items, n_times):
    seen = torch.zeros(n_items, n_times)
    for piece in pieces(n_items, n_times, 10):
        seen[piece.items, piece.times] += 1
        assert piece.n_frames == seen[piece.items, piece.times].numel() <= 10
        assert piece.n_times == piece.times.stop - piece.times.start
    assert (seen == 1).all()


def test_a_long_item_is_cut_the_same_in_any_batch():
    alone = [piece.times for piece in pieces(1, 35, 10)]
    together = [piece.times for piece in pieces(3, 35, 10)]
    assert together == 3 * alone


BANKS = {
    "80 bands": {"n_fft": 1024, "n_mels": 80},
    "one band": {"n_fft": 64, "n_mels": 1},
    "17 bands": {"n_fft": 101, "n_mels": 17, "fmin": 300.0, "fmax": 5000.0},
    "more bands than bins": {"n_fft": 16, "n_mels": 64},
}


def by_blocks(banding, blocks, power):
    """Powers (n_freqs,) to bands, as the kernels go about it."""
    padded = torch.nn.functional.pad(power, (0, 1))
    shares = (banding.weights @ padded[blocks][:, :, None]).flatten()
    shares = torch.cat([shares, torch.zeros(1, dtype=shares.dtype)])
    return shares[banding.rows.long()].sum(1)


@pytest.mark.parametrize("settings", BANKS.values(), ids=BANKS)
@pytest.mark.parametrize("is_trained", [False, True])
@pytest.mark.parametrize("most_bands", [16, 64])
@pytest.mark.parametrize("order", ["neighbours", "parities"])
def test_shares_of_blocks_add_up_to_the_bands(settings, is_trained, most_bands, order):
    config = config_of(settings)
    mel = mel_filterbank(config).double().requires_grad_(is_trained)
    bands = Bands(mel)
    bins = torch.arange(config.n_freqs)
    if order == "parities":
        bins = torch.cat([bins[::2], bins[1::2]])
    padding = -len(bins) % 16
    blocks = torch.nn.functional.pad(bins, (0, padding), value=config.n_freqs).reshape(-1, 16)
    banding = banding_for(bands, Layout(order, blocks, most_bands))
    assert banding.width % banding.step == 0
    assert banding.step <= most_bands
    power = noise(config.n_freqs).double().square()
    torch.testing.assert_close(by_blocks(banding, blocks, power), mel.detach() @ power)


def test_tables_of_trained_bands_are_made_once_and_their_weights_each_time():
    layout = Layout("neighbours", torch.arange(16).clamp_max(9).reshape(1, 16), 16)
    mel = noise(3, 9).requires_grad_()
    before = banding_for(Bands(mel), layout)
    with torch.no_grad():
        mel.mul_(2)
    after = banding_for(Bands(mel), layout)
    assert all(getattr(before, name) is getattr(after, name) for name in ("lowest", "rows"))
    assert torch.equal(after.weights, 2 * before.weights)


def test_bins_that_reach_no_band_are_left_out():
    mel = torch.zeros(3, 9)
    mel[1, 2], mel[2, 5] = 1.0, 2.0
    assert used_bins(Bands(mel), 9) == slice(2, 6)
    assert used_bins(Bands(mel.requires_grad_()), 9) == slice(0, 9)
    assert used_bins(None, 9) == slice(0, 9)


def test_bands_of_zeros_use_some_bin():
    bands = Bands(torch.zeros(3, 9))
    assert used_bins(bands, 9) == slice(0, 1)
    banding = banding_for(
        bands, Layout("neighbours", torch.arange(16).clamp_max(9).reshape(1, 16), 16)
    )
    assert (banding.rows == -1).all()


@pytest.mark.parametrize("name", TILES)
def test_tiles_are_powers_of_two_for_every_generation(name):
    assert 0 in TILES[name]
    assert min(known for known in TILES[name] if known) == 80
    for tile in TILES[name].values():
        for side in (tile.rows, tile.columns, tile.depth, tile.warps, tile.bands):
            assert side & (side - 1) == 0
        # tensor cores multiply at least 16 by 16
        assert tile.depth >= 16
        assert tile.bands >= 16
