"""A secret shows its text to nobody but who asks for it."""

import copy
import json
import pickle

import pytest
import yaml

from flow_client._core.secret import MASK, Secret

TEXT = "canary-7f3a91"
SECRET = Secret(TEXT)
HEADER = SECRET.as_header("Bearer ")

SHOWN = {
    "str": str,
    "repr": repr,
    "format": lambda secret: f"{secret} {secret:>40} {secret!r}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - another way out
    "str.format": "{0} {0:s}".format,
    "slice": lambda secret: secret[:],
    "sum": lambda secret: "" + secret + "",
    "join": lambda secret: ", ".join(map(Secret, [secret, "y"])),
    "json": lambda secret: json.dumps({"token": secret}),
    "methods": lambda secret: secret.upper() + secret.strip() + secret.replace("x", "y") + secret.partition(" ")[2],
    "characters": lambda secret: "".join(each for each in secret),
}


@pytest.mark.parametrize("secret", [SECRET, HEADER], ids=["secret", "header"])
@pytest.mark.parametrize("how", SHOWN)
def test_whatever_handles_it_as_a_string_sees_a_mask(how, secret):
    shown = SHOWN[how](secret)
    assert TEXT.upper() not in shown.upper()
    assert MASK in shown


def test_it_is_sent_and_revealed_as_it_is():
    assert (SECRET.reveal(), SECRET.encode()) == (TEXT, TEXT.encode())
    assert (HEADER.reveal(), HEADER.encode("latin-1")) == (f"Bearer {TEXT}", f"Bearer {TEXT}".encode())
    assert str(HEADER) == f"Bearer {MASK}"
    assert Secret(SECRET).reveal() == TEXT


def test_it_is_compared_and_found_by_its_text():
    assert SECRET == TEXT
    assert TEXT == SECRET
    assert Secret(TEXT) == SECRET
    assert Secret("other") != SECRET
    assert SECRET != MASK
    assert {SECRET: 1}[TEXT] == 1
    assert f"Bearer {TEXT}" == HEADER
    assert (bool(SECRET), bool(Secret(""))) == (True, False)


def test_a_copy_is_as_secret_and_as_useful():
    for copied in (copy.copy(SECRET), copy.deepcopy(SECRET), copy.copy(HEADER)):
        assert isinstance(copied, Secret)
        assert copied.reveal().endswith(TEXT)


def test_a_deep_copy_of_a_header_is_its_mask_for_recorders_keep_those():
    copied = copy.deepcopy({"headers": {"Authorization": [HEADER]}})
    assert yaml.safe_load(yaml.safe_dump(copied)) == {"headers": {"Authorization": [f"Bearer {MASK}"]}}


@pytest.mark.parametrize("secret", [SECRET, HEADER], ids=["secret", "header"])
def test_it_is_not_pickled(secret):
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
