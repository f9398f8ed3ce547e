"""Signatures of thoughts that certify themselves: what comes back changed is noticed.

A signature is base64 with all of its odd characters, as real ones are: a digest of the text, so
that the mock need not remember what it has said.
"""

import base64
import hashlib
import hmac

KEY = b"the mock's own"


def sign(text: str, kind: str = "thought") -> str:
    digest = hmac.new(KEY, f"{kind}\0{text}".encode(), hashlib.sha512).digest()
    return base64.b64encode(b"\xfb\xef\xff\x03\xe0" + digest * 2 + kind.encode()).decode()


def holds(text: str, signature: str, kind: str = "thought") -> bool:
    return hmac.compare_digest(sign(text, kind), signature)


def plain(signature: str) -> str:
    """Bytes of protocol buffers may come in the other alphabet of base64."""
    return signature.replace("-", "+").replace("_", "/")


def made_here(signature: str) -> bool:
    return plain(signature).startswith("++//A+")
