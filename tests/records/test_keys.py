"""Keys: shown once, kept as a hash, refused when revoked."""

import hashlib

import pytest
from sqlalchemy import text

from defect_detection.errors import ConfigError, UnknownRecordError
from defect_detection.records.keys import create_key, find_key, has_keys, list_keys, revoke_key


def test_a_key_is_known_by_itself_alone(records):
    key = create_key(records.database, "line 3", "operator")
    found = find_key(records.database, key)
    assert (found.name, found.role, found.revoked_at) == ("line 3", "operator", None)
    for other in (key[:-1], key + "x", key.upper(), hashlib.sha256(key.encode()).hexdigest(), "", "\udcff"):
        assert find_key(records.database, other) is None


def test_only_a_hash_is_kept(records):
    key = create_key(records.database, "line 3", "admin")
    with records.database.reading() as session:
        row = session.execute(text("SELECT * FROM api_keys")).one()
    assert key not in str(row)
    assert hashlib.sha256(key.encode()).hexdigest() in row


def test_a_revoked_key_is_refused_and_stays_in_the_list(records):
    key, other = (create_key(records.database, name, "operator") for name in ("one", "two"))
    first = revoke_key(records.database, "one").revoked_at
    assert find_key(records.database, key) is None
    assert find_key(records.database, other) is not None
    assert revoke_key(records.database, "one").revoked_at == first
    assert [(item.name, item.revoked_at) for item in list_keys(records.database)] == [
        ("one", first),
        ("two", None),
    ]
    assert has_keys(records.database)
    revoke_key(records.database, "two")
    assert has_keys(records.database)  # what was closed stays closed


def test_a_name_is_given_once_also_after_it_was_revoked(records):
    create_key(records.database, "one", "operator")
    revoke_key(records.database, "one")
    with pytest.raises(ConfigError, match="expected a new name, received 'one'"):
        create_key(records.database, "one", "admin")


@pytest.mark.parametrize(
    "name", ["", "a\nb", "x" * 65, "-", "this machine", "the key of the settings", "192.0.2.7"]
)
def test_a_name_that_would_mislead_is_refused(records, name):
    with pytest.raises(ConfigError, match="keys: expected an unused name"):
        create_key(records.database, name, "operator")


def test_an_unknown_key_cant_be_revoked(records):
    with pytest.raises(UnknownRecordError, match="no key is named 'nobody'"):
        revoke_key(records.database, "nobody")
