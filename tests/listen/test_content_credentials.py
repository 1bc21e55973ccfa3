"""Manifests of C2PA, signed by a certificate of our own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders import write_tone
from earwitness.listen.content_credentials import read_credentials

c2pa = pytest.importorskip("c2pa", reason="no c2pa-python: pip install c2pa-python")

EXTENSIONS = """basicConstraints=critical,CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,emailProtection
authorityKeyIdentifier=keyid
"""


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A song with a manifest that says a machine made it."""
    folder = tmp_path_factory.mktemp("c2pa")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    own = ("-addext", "keyUsage=critical,keyCertSign")
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/O=Test CA/CN=Test CA", *own)  # fmt: skip
    openssl(folder, "req", *curve, "-keyout", "own.key", "-out", "own.csr",
            "-subj", "/O=Signer <b>/CN=Signer <b>")  # fmt: skip
    (folder / "extensions").write_text(EXTENSIONS)
    openssl(folder, "x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-extfile", "extensions", "-out", "own.pem")  # fmt: skip
    chain = (folder / "own.pem").read_bytes() + (folder / "ca.pem").read_bytes()
    key = (folder / "own.key").read_bytes()
    info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None)
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    action = {"action": "c2pa.created", "digitalSourceType": source}
    claims = {
        "claim_generator_info": [{"name": "Songmaker", "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
    }
    write_tone(folder / "song.wav")
    with c2pa.Builder(claims) as builder:
        builder.sign_file(folder / "song.wav", folder / "signed.wav", c2pa.Signer.from_info(info))
    return folder / "signed.wav"


def test_what_a_manifest_claims_and_that_its_signer_is_unknown(signed: Path) -> None:
    found = read_credentials(signed)
    assert "as it was signed, but the signer is on no trust list" in found.state
    assert "signingCredential.untrusted" in found.state
    assert found.claims["signed by"] == "Signer <b>"
    assert found.claims["written by"].startswith("Songmaker 1")
    assert found.claims["actions"] == "created (made by a trained model)"


def test_a_changed_file_is_not_as_it_was_signed(signed: Path, tmp_path: Path) -> None:
    data = bytearray(signed.read_bytes())
    data[2_000] ^= 0x55
    (tmp_path / "changed.wav").write_bytes(data)
    state = read_credentials(tmp_path / "changed.wav").state
    assert state.startswith("the file is not as it was signed")
    assert "assertion.dataHash.mismatch" in state


def test_files_without_a_manifest_or_of_another_kind(signed: Path, tmp_path: Path) -> None:
    assert read_credentials(signed.with_name("song.wav")).state == "no manifest"
    (tmp_path / "song.ogg").write_bytes(b"OggS")
    other = read_credentials(tmp_path / "song.ogg")
    assert other == ("not checked: c2pa-python does not read this kind of file", {})
