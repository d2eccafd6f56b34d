"""Why there was no answer, in one sentence each; none quotes header values, payloads, queries or secrets."""

from __future__ import annotations

import os
import ssl
import traceback

import aiohttp
import httpx
import structlog

from application.ports import ResourcesExhausted
from domain.facts import Unanswered
from infrastructure.http_caller.progress import CutShort, Improper, NotConnected, Progress, Severed, Stage

log = structlog.get_logger(__name__)


def failed(sentence: str, progress: Progress, *, retryable: bool = True) -> Unanswered:
    """A failure of what was under way, and how the request came there."""
    hops = progress.redirects
    after = f" (after {hops} redirect{'s' if hops > 1 else ''})" if hops else ""
    return Unanswered(error=sentence + after, retryable=retryable, sent=progress.sent)


def no_room(error: ResourcesExhausted) -> Unanswered:
    """It is this machine that lacks something."""
    return Unanswered(error=f"this machine cannot open another connection: {error}", sent=False)


def timed_out(timeout_seconds: float, progress: Progress) -> Unanswered:
    """The attempt's time was over. A status without its whole body is no answer, but is worth a word."""
    status = f"status {progress.status} came, " if progress.status is not None else ""
    waiting = f"{status}waiting for {progress.stage.value}"
    return failed(f"no complete answer within {timeout_seconds:g} s ({waiting})", progress)


def unanswered(error: BaseException, progress: Progress) -> Unanswered | None:
    """What an error of the transport means; None for one that no network explains: it is our own."""
    cause = cause_of(error)
    unresolvable = isinstance(cause, UnicodeError) and progress.stage is Stage.CONNECTION  # too long a label
    if unresolvable or isinstance(cause, aiohttp.InvalidURL):
        where = progress.url.netloc.decode()
        advice = f"{where} is no address that can be called; correct action.url"
        return failed(advice, progress, retryable=False)
    sentence = explained(cause, progress)
    return None if sentence is None else failed(sentence, progress)


def improper(complaint: str, progress: Progress) -> Unanswered:
    """Something came, but it is no HTTP answer."""
    return failed(no_proper_http(progress.url, complaint), progress)


def no_proper_http(url: httpx.URL, complaint: str) -> str:
    """The sentence that says so."""
    return f"{url.netloc.decode()} did not answer in proper HTTP: {complaint}"


def cause_of(error: BaseException) -> BaseException:
    """What aiohttp or the system said, under the names that httpx's transport and ours gave it."""
    while isinstance(error, httpx.TransportError | Severed) and error.__cause__ is not None:
        error = error.__cause__
    return error


def explained(cause: BaseException, progress: Progress) -> str | None:
    """The sentence."""
    where = progress.url.netloc.decode()
    match cause:
        case NotConnected(seconds=seconds):
            advice = "raise action.connect_timeout_seconds, or see why the host is slow to reach"
            return f"no connection to {where} within {seconds:g} s; {advice}"
        case aiohttp.ClientConnectorDNSError():
            return f"the host name {progress.url.raw_host.decode()} cannot be resolved"
        case aiohttp.ClientConnectorCertificateError(certificate_error=reason):
            complaint = getattr(reason, "verify_message", "it was refused").rstrip(".")
            return f"the TLS certificate of {where} is not valid: {complaint}"
        case aiohttp.ClientConnectorSSLError(os_error=reason):
            return f"no TLS connection to {where}: {in_words(reason)}"
        case aiohttp.ClientConnectorError(os_error=reason):
            return f"cannot connect to {where}: {in_words(reason)}"
        case Improper():
            return no_proper_http(progress.url, str(cause))
        case CutShort():
            how = in_words(cause.__cause__) if isinstance(cause.__cause__, OSError) else str(cause)
            return f"the answer of {where} broke off after status {progress.status}: {how}"
        case Severed():
            return f"{where} closed the connection before it answered"
        case OSError():
            wait = progress.stage.value
            return f"the connection to {where} broke while waiting for {wait}: {in_words(cause)}"
        case httpx.TransportError() | aiohttp.ClientError():
            return f"the call to {where} failed: {type(cause).__name__}"
        case _:
            return None


def in_words(error: OSError) -> str:
    """The system's own words for an error number: messages may say anything."""
    reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(reason, ssl.SSLError):
        return (reason.reason or "TLS error").lower().replace("_", " ")
    return os.strerror(reason.errno).lower() if reason.errno else type(reason).__name__


def internal_error(error: Exception, *, sent: bool) -> Unanswered:
    """A mistake of ours: told and logged, by type and place only, for the message may quote the request."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    name = type(error).__name__
    log.error("http_caller_failed", error=name, where=f"{frame.filename}:{frame.lineno}")
    return Unanswered(error=f"internal error: {name}", retryable=False, sent=sent)
