from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import bundles
from earwitness.core.errors import WeightsError
from earwitness.core.io import cache_folder
from earwitness.detectors import weights
from earwitness.detectors.weights import (
    convert_bundle,
    find_bundle,
    hash_bundle,
    resolve_weights,
)

LAYERS = {
    "layer_with_weights-0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer_with_weights-0/bias": np.array([1, -1, 0.5], np.float32),
}


@pytest.fixture
def prefix(tmp_path):
    return bundles.write_specnn(tmp_path / "model" / "variables" / "variables", LAYERS)


def assert_layers(tensors):
    assert set(tensors) == set(LAYERS)
    for name, values in LAYERS.items():
        np.testing.assert_array_equal(tensors[name], values)


class TestFindBundle:
    def test_savedmodel_folder_variables_folder_index_and_prefix(self, prefix):
        model = prefix.parent.parent
        for path in (model, model / "variables", Path(f"{prefix}.index"), prefix):
            assert find_bundle(path) == prefix

    def test_folder_with_one_index(self, tmp_path):
        prefix = bundles.write(tmp_path / "run" / "best.ckpt-3", LAYERS)
        assert find_bundle(tmp_path / "run") == prefix
        assert find_bundle(Path(f"{prefix}.index")) == prefix

    def test_prefix_beside_a_folder_of_the_same_name(self, tmp_path):
        prefix = bundles.write(tmp_path / "specnn", LAYERS)
        (tmp_path / "specnn").mkdir()
        assert find_bundle(prefix) == prefix

    def test_several_indexes_are_ambiguous(self, tmp_path):
        for name in ("epoch1", "epoch2"):
            bundles.write(tmp_path / "run" / name, LAYERS)
        with pytest.raises(WeightsError, match=r"2 indexes \(epoch1.index, epoch2.index\)"):
            find_bundle(tmp_path / "run")

    @pytest.mark.parametrize(
        ("name", "found"), [("empty", r"holds no \*\.index"), ("gone", "no checkpoint there")]
    )
    def test_nothing_there_says_where_it_looked(self, tmp_path, name, found):
        (tmp_path / "empty").mkdir()
        with pytest.raises(WeightsError, match=rf"{name}: {found}; .*{name}.variables.*SavedModel"):
            find_bundle(tmp_path / name)


class TestConvertBundle:
    def test_only_layers_are_kept(self, prefix):
        assert_layers(convert_bundle(prefix).tensors)

    def test_identity_is_the_hash_of_index_and_data(self, tmp_path):
        prefix = bundles.write_specnn(tmp_path / "x", LAYERS)
        data = Path(f"{prefix}.index").read_bytes()
        data += Path(f"{prefix}.data-00000-of-00001").read_bytes()
        expected = hashlib.sha256(data).hexdigest()
        assert convert_bundle(prefix).sha256 == hash_bundle(prefix) == expected

    def test_second_time_comes_from_the_cache(self, prefix, own_cache, monkeypatch):
        first = convert_bundle(prefix)
        (kept,) = (own_cache / "weights").iterdir()
        assert kept.name == f"{first.sha256}.safetensors"
        assert_layers(load_file(kept))

        monkeypatch.setattr(weights, "read_tensors", None)
        second = convert_bundle(prefix)
        assert_layers(second.tensors)
        assert second.sha256 == first.sha256

    def test_other_weights_at_the_same_place_are_told_apart(self, prefix, own_cache):
        convert_bundle(prefix)
        changed = {name: values + 1 for name, values in LAYERS.items()}
        bundles.write_specnn(prefix, changed)
        found = convert_bundle(prefix).tensors
        np.testing.assert_array_equal(
            found["layer_with_weights-0/bias"], changed["layer_with_weights-0/bias"]
        )
        assert len(list((own_cache / "weights").iterdir())) == 2

    def test_every_damage_to_the_cache_is_mended(self, prefix, own_cache):
        convert_bundle(prefix)
        (kept,) = (own_cache / "weights").iterdir()
        whole = kept.read_bytes()
        places = range(0, len(whole), 4)
        flipped = [whole[:n] + bytes([whole[n] ^ 0x21]) + whole[n + 1 :] for n in places]
        for damaged in (b"", whole[:-1], whole + b"x", b"\xff" * 20, *flipped):
            kept.write_bytes(damaged)
            assert_layers(convert_bundle(prefix).tensors)
            load_file(kept)

    def test_given_cache_folder_is_used(self, prefix, own_cache, tmp_path):
        convert_bundle(prefix, cache=tmp_path / "mine")
        assert len(list((tmp_path / "mine" / "weights").iterdir())) == 1
        assert not own_cache.exists()

    def test_cache_that_cannot_be_written_is_done_without(self, prefix, own_cache):
        own_cache.write_text("a file where a folder should be", encoding="utf-8")
        assert_layers(convert_bundle(prefix).tensors)
        assert own_cache.is_file()

    def test_no_home_folder_means_no_cache(self, prefix, monkeypatch):
        monkeypatch.setattr(weights, "cache_folder", lambda: None)
        assert_layers(convert_bundle(prefix).tensors)

    def test_missing_data_is_an_error_although_it_is_cached(self, prefix):
        convert_bundle(prefix)
        Path(f"{prefix}.data-00000-of-00001").unlink()
        with pytest.raises(WeightsError, match="data-00000-of-00001: no such file"):
            convert_bundle(prefix)

    def test_damaged_data_is_an_error(self, prefix):
        Path(f"{prefix}.data-00000-of-00001").write_bytes(b"\1" * 10_000)
        with pytest.raises(WeightsError, match="checksum of 'layer_with_weights-0/"):
            convert_bundle(prefix)


class TestCacheFolder:
    @pytest.fixture(autouse=True)
    def bare_environment(self, monkeypatch):
        for name in ("EARWITNESS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(sys, "platform", "linux")

    def test_order_of_places(self, monkeypatch, tmp_path):
        monkeypatch.setattr(Path, "home", staticmethod(lambda: tmp_path))
        assert cache_folder() == tmp_path / ".cache" / "earwitness"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "xdg" / "earwitness"
        monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "own"))
        assert cache_folder() == tmp_path / "own"

    def test_windows(self, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
        assert cache_folder() == tmp_path / "local" / "earwitness"

    def test_no_home(self, monkeypatch):
        def no_home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", staticmethod(no_home))
        assert cache_folder() is None


class TestResolveWeights:
    @pytest.fixture(autouse=True)
    def in_working_folder(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

    def make(self, *parts: str) -> Path:
        folder = Path(*parts)
        folder.mkdir(parents=True)
        return folder

    def test_given_path_comes_first(self, monkeypatch, tmp_path):
        self.make("env", "net")
        monkeypatch.setenv("EARWITNESS_WEIGHTS", str(tmp_path / "env"))
        given = self.make("mine")
        assert resolve_weights("net", {"net": given, "other": Path("no")}) == given
        assert resolve_weights("net", {"other": given}) == tmp_path / "env" / "net"

    def test_given_prefix_counts_as_there(self, tmp_path):
        prefix = bundles.write(tmp_path / "ckpt" / "best", LAYERS)
        assert resolve_weights("net", {"net": prefix}) == prefix

    @pytest.mark.parametrize("folder", ["weights/final", "deepfake-detector/weights/final"])
    def test_published_places(self, folder):
        published = self.make(folder, "specnn_amplitude")
        assert resolve_weights("a", {"a": Path("specnn_amplitude")}) == published
        assert resolve_weights("specnn_amplitude", {}) == published

    def test_environment_comes_before_published_places(self, monkeypatch, tmp_path):
        self.make("weights/final", "net")
        monkeypatch.setenv("EARWITNESS_WEIGHTS", str(tmp_path))
        assert resolve_weights("net", {}) == Path("weights/final/net")
        own = self.make(str(tmp_path), "net")
        assert resolve_weights("net", {}) == own

    def test_given_path_that_is_missing_is_not_replaced(self, monkeypatch, tmp_path):
        self.make("env", "net")
        self.make("weights/final", "net")
        monkeypatch.setenv("EARWITNESS_WEIGHTS", str(tmp_path / "env"))
        for missing in (tmp_path / "typo", Path("typo")):
            with pytest.raises(WeightsError, match=r"no weights for net: looked at .*typo"):
                resolve_weights("net", {"net": missing})

    def test_error_says_where_it_looked_and_how_to_give_it(self, monkeypatch):
        monkeypatch.setenv("EARWITNESS_WEIGHTS", "shelf")
        with pytest.raises(WeightsError) as caught:
            resolve_weights("net", {})
        message = str(caught.value)
        assert "\n" not in message
        for place in ("shelf", "weights/final", "deepfake-detector/weights/final"):
            assert str(Path(place) / "net") in message
        assert message.endswith("give --weights net=PATH")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX modes")
def test_cache_file_has_the_usual_mode(prefix, own_cache):
    convert_bundle(prefix)
    (kept,) = (own_cache / "weights").iterdir()
    umask = os.umask(0)
    os.umask(umask)
    assert kept.stat().st_mode & 0o777 == 0o666 & ~umask
