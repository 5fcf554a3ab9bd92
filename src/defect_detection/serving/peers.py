"""Determine whether a request comes from this machine or from another address.

The peer address alone does not prove that a request is this machine's own. A proxy on this machine brings strangers from the
loopback address, and a web page in a local browser can send requests too, also under a host name that its owner points to
127.0.0.1. So the address, the Host and the Origin must all be this machine's, and no header may tell of a proxy. A proxy or a
tunnel that changes the Host and adds no header cannot be told apart: `access` therefore trusts no address once a key exists.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from flask import Request

_THIS_MACHINE = ("127.0.0.0/8", "::1/128")
_LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)

# Headers of proxies, load balancers, tunnels and content delivery networks, in lower case: whole names, and how names begin
_OF_PROXIES = """
    cdn-loop client-ip disguised-host forwarded forwarded-for front-end-https incap-client-ip max-forwards remote-addr
    remote-user surrogate-capability true-client-ip via x-coming-from x-forwarded x-host x-iinfo x-nginx-proxy x-request-start
    x-rewrite-url x-scheme x-url-scheme x-varnish
""".split()  # noqa: SIM905
_BEGIN_OF_PROXIES = tuple(
    """
    akamai- ali-cdn- cdn- cf- cloudfront- eo- fastly- fly- ngrok- proxy- tailscale- teleport- wl-proxy- x-akamai- x-amz-cf-
    x-amzn- x-appengine- x-appservice- x-arr- x-auth-request- x-azure- x-bluecoat- x-cdn- x-client- x-cloud-trace- x-cluster-
    x-edge- x-envoy- x-fd- x-forwarded- x-google- x-haproxy- x-kong- x-nf- x-original- x-originating- x-pomerium- x-proxy
    x-real- x-remote- x-squid- x-sucuri- x-tencent- x-traefik- x-vercel- x-waws- x-zscaler-
    """.split()  # noqa: SIM905
)


def why_not_local(request: Request) -> str | None:
    """Return why the request is not from this machine, or None if it is."""
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if not is_loopback(request.remote_addr or ""):
        return f"comes from {request.remote_addr}, not from this machine"
    if proxied := _proxy_header(request):
        return f"came through a proxy (header {proxied})"
    if not _LOCAL_HOST.fullmatch(host):
        return f"is addressed to {host!r}, not to localhost, 127.0.0.1 or [::1]"
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return f"was sent by a page of another origin ({origin})"
    return None


class Proxies:
    """The reverse proxies that ``serving.behind_proxy`` declares: true means any on this machine."""

    def __init__(self, declared: bool | Sequence[str]) -> None:
        named = _THIS_MACHINE if declared is True else declared or ()
        self._networks = [ip_network(one) for one in named]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def include(self, peer: str) -> bool:
        """Say whether what comes from an address comes through a declared proxy."""
        plain = _plain(peer)
        return bool(plain) and any(ip_address(plain) in network for network in self._networks)


def address_of(request: Request, proxies: Proxies) -> str:
    """Return the address that a request comes from; behind a declared proxy, the one that the proxy saw.

    Of several addresses in ``X-Forwarded-For`` the last one counts: the proxy added it, the caller may have written the others.
    """
    peer = request.remote_addr or ""
    if proxies.include(peer):
        seen = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        return _plain(seen) or _plain(peer)
    return _plain(peer)


def is_loopback(peer: str) -> bool:
    """Check whether an address belongs to this machine."""
    plain = _plain(peer)
    return bool(plain) and ip_address(plain).is_loopback


def _plain(peer: str) -> str:
    """Return an address in its one usual form, an IPv4 address within IPv6 as itself; empty when it is none."""
    try:
        address = ip_address(peer)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _proxy_header(request: Request) -> str | None:
    return next((name for name in request.headers.keys() if _is_of_a_proxy(name.lower())), None)  # noqa: SIM118


def _is_of_a_proxy(name: str) -> bool:
    return name in _OF_PROXIES or name.startswith(_BEGIN_OF_PROXIES)
