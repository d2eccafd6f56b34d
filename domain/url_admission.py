"""Which URLs are admitted: absolute http(s) URLs in the letters of RFC 3986, which every parser reads alike.

Whether an address may be called is decided when it is dialled, not here: names change what they stand for.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from domain.wording import shown

LONGEST_URL = 2048

_FOREIGN = re.compile(r"[^!#-;=?-\[\]_a-z~]|%(?![0-9A-Fa-f]{2})")
_AUTHORITY = re.compile(r"(?i)https?://(?P<user>[^/?#]*@)?(?P<host>\[[^\]/?#]*\]|[^:/?#]*)(?::(?P<port>[^/?#]*))?(?=[/?#]|$)")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?i)(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_NUMERIC = re.compile(r"(?i)(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
