"""Examples of heads and proofs."""

from __future__ import annotations

from typing import Any

_HEAD = {
    "tree_size": 3,
    "root_hash": "2f1f5b1c4a0d1d3a1f0c6f0fd4d7ad15ac4f0c2f7b6e5d6b1b0c35a3a3ce9a41",
    "last_position": 3,
    "sealed_at": "2029-12-31T09:15:32.120431Z",
    "key_id": "9b6a1f0e5c7d4b3a29180716f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2",
    "signature": "5a" * 64,
}
_HASHES = ["b7c1d2e3f4a5968778695a4b3c2d1e0f00112233445566778899aabbccddeeff"]
_PUBLIC_KEY = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    "-----END PUBLIC KEY-----\n"
)

AUDIT_EXAMPLES: dict[str, Any] = {
    "Head": _HEAD,
    "HeadPage": {
        "items": [_HEAD],
        "next_before": None,
        "keys": [{"key_id": _HEAD["key_id"], "public_key": _PUBLIC_KEY}],
    },
    "InclusionProof": {
        "position": 3,
        "leaf_index": 2,
        "leaf_hash": "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "hashes": _HASHES,
        "head": _HEAD,
    },
    "ConsistencyProof": {
        "first": {**_HEAD, "tree_size": 2, "last_position": 2},
        "second": _HEAD,
        "hashes": _HASHES,
    },
    "Evidence": {
        "execution_id": "80e3a1c4-5d00-8c3d-9b51-2f6a7c1d0e42",
        "events": [
            {
                "position": 3,
                "version": 1,
                "recorded_at": "2029-12-31T09:15:27.432104Z",
                "topic": "execution.skipped.v1",
                "state": '{"meta":{"actor":"scheduler","correlation_id":""},"fact":{"reason":"overlap"}}',
                "leaf_index": 2,
                "hashes": _HASHES,
            }
        ],
        "head": _HEAD,
        "public_key": _PUBLIC_KEY,
    },
}
