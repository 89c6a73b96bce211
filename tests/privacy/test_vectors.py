"""Treatments against answers that others published.

HMAC-SHA256 and HKDF in full stand beside the code they test: RFC 4231 in `test_pseudonyms`, RFC
5869 in `test_keys`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from streams.privacy.expressions import expression
from streams.privacy.keys import PseudonymKey
from streams.privacy.policy import Decision
from streams.privacy.pseudonyms import Pseudonyms
from streams.privacy.tags import Leaf
from streams.privacy.treatments import Treatment, TruncateAddress, TruncatePoint, TruncateTime

KEY = PseudonymKey("analytics", 1, bytes(32))


def treated(treatment: Treatment, kind: str, value: object) -> object:
    leaf = Leaf("leaf", kind, frozenset({"TAG"}))
    column = pl.DataFrame({"leaf": [value]})
    return column.select(expression(Decision(treatment, "TAG"), leaf, {}, KEY)).item()


# FIPS 180-4 examples, https://csrc.nist.gov/projects/cryptographic-standards-and-guidelines/
# example-values, and the empty message of NIST's CAVP byte vectors (SHA256ShortMsg.rsp).
SHA256 = [
    (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
    (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
]


@pytest.mark.parametrize(("message", "digest"), SHA256)
def test_the_hash_beneath_is_sha_256(message: bytes, digest: str) -> None:
    assert hashlib.sha256(message).hexdigest() == digest


# RFC 4231, 4.6: the case that is cut to 128 bits, which is what a pseudonym is cut to.
TRUNCATED = ("0c" * 20, "Test With Truncation", "a3b6167473100ee06e0c796c2955552b")
# Key, data, and what `openssl mac -macopt hexkey:... -macopt size:8 BLAKE2BMAC` (3.0) says of them.
INT64 = [
    ("0b" * 20, "Hi There", "5e6e682809069615"),
    (b"Jefe".hex(), "what do ya want for nothing?", "fd63f1e41f7d234a"),
]
# RFC 4231, 4.7 and 4.8: keys longer than a block.
LONG_KEY = "aa" * 131


def test_a_pseudonym_is_hmac_cut_to_128_bits() -> None:
    key, text, digest = TRUNCATED
    maker = Pseudonyms(bytes.fromhex(key))
    assert maker.hex(text) == digest
    assert maker.hex_column(pl.Series([text])).to_list() == [digest]


@pytest.mark.parametrize(("key", "text", "head"), INT64)
def test_a_digest_number_is_keyed_blake2b_of_64_bits(key: str, text: str, head: str) -> None:
    number = int.from_bytes(bytes.fromhex(head), "big", signed=True)
    assert Pseudonyms(bytes.fromhex(key)).int64_column(pl.Series([text])).to_list() == [number]


def test_a_key_that_would_be_hashed_first_is_refused() -> None:
    with pytest.raises(ValueError, match="block"):
        Pseudonyms(bytes.fromhex(LONG_KEY))


NETWORKS = [
    # Universal Analytics, "IP masking", https://support.google.com/analytics/answer/2763052: the
    # last octet of IPv4 and the last 80 bits of IPv6 are set to zero.
    (24, 48, "12.214.31.144", "12.214.31.0/24"),
    (24, 48, "2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3::/48"),
    # Piwik PRO, "Mask IP address", levels 2 and 3,
    # https://help.piwik.pro/support/privacy/mask-your-visitor-ip-address/
    (16, 48, "192.168.111.255", "192.168.0.0/16"),
    (16, 48, "1050:0000:0000:0000:0000:0000:0000:0000", "1050::/48"),
    (8, 32, "192.168.111.255", "192.0.0.0/8"),
    (8, 32, "1050:0000:0000:0000:0000:0000:0000:0000", "1050::/32"),
    # RFC 4632, 3.1: the prefix that 172.16.0.0 to 172.31.255.255 share.
    (12, 48, "172.31.255.255", "172.16.0.0/12"),
    (12, 48, "172.32.0.0", "172.32.0.0/12"),
    # RFC 4291, 2.2: one address, however it is written; and RFC 5952, 4: one way to write it.
    (24, 48, "2001:DB8:0:0:8:800:200C:417A", "2001:db8::/48"),
    (24, 128, "2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a/128"),
    (24, 128, "2001:DB8::8:800:200C:417A", "2001:db8::8:800:200c:417a/128"),
    (24, 128, "FF01:0:0:0:0:0:0:101", "ff01::101/128"),
    (24, 128, "0:0:0:0:0:0:0:1", "::1/128"),
    (24, 128, "::", "::/128"),
    (24, 128, "0:0:0:0:0:0:13.1.68.3", "::d01:4403/128"),
    # RFC 4291, 2.3: a prefix that ends within a group.
    (24, 60, "2001:0DB8:0000:CD30:123:4567:89AB:CDEF", "2001:db8:0:cd30::/60"),
    (24, 60, "2001:0DB8:0000:CD3F:123:4567:89AB:CDEF", "2001:db8:0:cd30::/60"),
    # RFC 4291, 2.5.5.2: an IPv4 address within; a prefix of an IPv6 address shows nothing of it.
    (24, 48, "::FFFF:129.144.52.38", "::/48"),
    (24, 96, "::FFFF:129.144.52.38", "::ffff:0:0/96"),
    # RFC 4007, 11: a zone names an interface of the device, and goes.
    (24, 48, "fe80::1234%1", "fe80::/48"),
    (24, 128, "fe80::1234%eth0", "fe80::1234/128"),
    (24, 48, "ff08::9abc%interface10", "ff08::/48"),
    # Every prefix has two ends.
    (0, 0, "255.255.255.255", "0.0.0.0/0"),
    (0, 0, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
    (32, 128, "192.0.2.1", "192.0.2.1/32"),
]
NO_ADDRESSES = [
    "2001:0DB8:0:CD30",  # RFC 4291, 2.3, after the examples: not legal
    "1::2::3",
    "12.214.31",
    "12.214.31.256",
    "012.214.31.144",  # octal to some, decimal to others (RFC 6943, 3.1.1)
    "12.214.31.144/24",
    "12.214.31.144:443",
    "localhost",
    "",
]


@pytest.mark.parametrize(("prefix4", "prefix6", "address", "network"), NETWORKS)
def test_networks(prefix4: int, prefix6: int, address: str, network: str) -> None:
    assert treated(TruncateAddress(prefix4, prefix6), "string", address) == network


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_leaves_nothing(text: str) -> None:
    assert treated(TruncateAddress(32, 128), "string", text) is None


# RFC 3339, 5.8: the examples, as there and as an instant in UTC; the last is before 1970.
INSTANTS = [
    ("1985-04-12T23:20:50.52+00:00", "1985-04-12T23:20:00", "1985-04-12T23:00:00", "1985-04-12"),
    ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:00", "1996-12-20T00:00:00", "1996-12-20"),
    ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:00", "1937-01-01T11:00:00", "1937-01-01"),
]


def unix_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    since = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


@pytest.mark.parametrize(("moment", "minute", "hour", "day"), INSTANTS)
def test_instants_are_cut_in_utc(moment: str, minute: str, hour: str, day: str) -> None:
    for unit, cut in (("minute", minute), ("hour", hour), ("day", day)):
        assert treated(TruncateTime(unit), "long", unix_ms(moment)) == unix_ms(cut)


def test_the_last_minute_of_32_bit_unix_time() -> None:
    # IEEE Std 1003.1, "Seconds Since the Epoch": 2^31 - 1 is 2038-01-19T03:14:07Z.
    assert treated(TruncateTime("minute"), "long", (2**31 - 1) * 1_000) == unix_ms(
        "2038-01-19T03:14:00"
    )


# ISO 6709 writes Mount Everest as +27.5916+086.5640; the South Pole has the latitude -90.
POINTS = [
    (27.5916, 2, 27.59),
    (86.5640, 1, 86.5),
    (-27.5916, 1, -27.6),  # down, not toward zero
    (-90.0, 0, -90.0),
    (180.0, 3, 180.0),
]


@pytest.mark.parametrize(("degrees", "decimals", "cut"), POINTS)
def test_points_are_cut_down(degrees: float, decimals: int, cut: float) -> None:
    assert treated(TruncatePoint(decimals), "double", degrees) == cut
