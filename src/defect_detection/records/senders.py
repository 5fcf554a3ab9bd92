"""Identify the sender of an image: the name of its key, or its address. A key cannot be named like an address."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

NETWORK_BITS = 64  # of an IPv6 address: one caller may use all addresses of such a network


@lru_cache(maxsize=10_000)
def network_of(sender: str) -> str | None:
    """Return the address of a sender without a key (IPv6: its network); None for the name of a key."""
    try:
        address = ip_address(sender.partition("/")[0])
    except ValueError:
        return None
    is_wide = isinstance(address, IPv6Address) and address.ipv4_mapped is None
    return str(ip_network((address, NETWORK_BITS), strict=False)) if is_wide else str(address)
