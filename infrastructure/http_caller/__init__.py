"""The HTTP caller: bounded, punctual, and never repeating a request that may have been received (ADR 5)."""

from infrastructure.http_caller.caller import AiohttpCaller

__all__ = ["AiohttpCaller"]
