"""Everything the package raises, one tree.

::

    QlaraError
    ├── ConfigurationError (ValueError)      a client, receiver or limiter was set up wrongly
    ├── InvalidMessageError (ValueError)     the input is wrong; no request was spent
    ├── ClientStateError (RuntimeError)
    │   ├── ClientClosedError                used after aclose()
    │   └── WrongEventLoopError              used from another event loop than the one it started on
    ├── TransportError                       no complete answer; `.sent` is "no" or "maybe"
    │   ├── ConnectionFailed                 refused, DNS, TLS, dropped
    │   ├── RequestTimeout (TimeoutError)    `.phase` is "connect" or "read"
    │   └── DeliveryUnknownError             a send that may have been accepted, and was not repeated
    │       └── BatchUnknownError            of several messages in one request; `.message_ids`
    ├── HandlerTimeout (TimeoutError)        a handler took longer than it may; `.handler`, `.timeout`
    ├── ChainStoreError                      the store of fallback chains cannot be used
    ├── InboxError                           a durable inbox cannot be used
    ├── JournalError                         a bulk job's journal cannot be used
    │   ├── JournalDamagedError              the file is damaged, or no journal
    │   ├── JournalLockedError               another process has it; `.pid`, `.host`, `.since`
    │   ├── JournalMismatchError             the source is not the one journalled; `.index`
    │   ├── JournalVersionError              the file has another version of the format
    │   └── JournalWriteError                disk full, read-only, I/O, no such directory
    ├── TrackingError                        delivery tracking
    │   ├── StatusTimeout (TimeoutError)     a wait ended before its status came; `.status` is the last known
    │   ├── StatusUnreachableError           the message ended otherwise than waited for; `.status` says how
    │   └── TrackingStoreError               the tracker's store cannot be used
    ├── NotSentError                         deliberately not sent, before a request was spent; `.reason`
    │   ├── DestinationNotAllowedError       the client has `only_destinations`, and the recipient is none of them
    │   ├── OutsideWindowError               free-form WhatsApp, and the customer has not written for 24 hours
    │   ├── SuppressedError                  the recipient is on the suppression list
    │   └── TemplateNotApprovedError         Meta has not approved the template, when last seen
    ├── TemplateError                        a template's review; `.template_id`, `.status`
    │   ├── TemplateRejectedError            Meta rejected it
    │   └── TemplateTimeout (TimeoutError)   it is not approved yet
    ├── ExportError                          an export failed, or its link has expired; `.status`
    │   └── ExportTimeout (TimeoutError)     it is not available yet
    ├── StoreError                           a suppression list or the conversations cannot be read or written
    ├── TransferError                        a file could not be uploaded or downloaded
    ├── MessageRejectedError                 a 2xx answer with `accepted: false`; `.reasons`
    ├── UndecodableAnswerError               a 2xx answer that is not what the API documents
    └── ApiError                             an HTTP error; `.status`, `.code`, `.detail`, `.retry_after`
        ├── BadRequestError                  400
        ├── AuthenticationError              401
        ├── PermissionDeniedError            403
        ├── NotFoundError                    404
        ├── ConflictError                    409
        ├── UriTooLongError                  414
        ├── UnprocessableError               422
        ├── RateLimitError                   429, or a pause longer than the policy allows; `.retry_at`
        └── ServerError                      5xx
            ├── InternalServerError          500
            └── BadGatewayError              502

Texts of errors name the message by its id and never hold keys, tokens, phone numbers or message texts; all errors can
be pickled and copied. Status codes are those of the API pages; what to do about them is the vendor's FAQ.
"""

from __future__ import annotations

from .answers import (
    ApiError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    MessageRejectedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UndecodableAnswerError,
    UnprocessableError,
    UriTooLongError,
)
from .files import (
    ChainStoreError,
    InboxError,
    JournalDamagedError,
    JournalError,
    JournalLockedError,
    JournalMismatchError,
    JournalVersionError,
    JournalWriteError,
    StoreError,
)
from .not_sent import (
    DestinationNotAllowedError,
    NotSentError,
    OutsideWindowError,
    SuppressedError,
    TemplateNotApprovedError,
)
from .root import (
    ClientClosedError,
    ClientStateError,
    ConfigurationError,
    HandlerTimeout,
    InvalidMessageError,
    QlaraError,
    WrongEventLoopError,
)
from .transport import (
    BatchUnknownError,
    ConnectionFailed,
    DeliveryUnknownError,
    RequestTimeout,
    Sent,
    TransferError,
    TransportError,
)
from .waits import (
    ExportError,
    ExportTimeout,
    StatusTimeout,
    StatusUnreachableError,
    TemplateError,
    TemplateRejectedError,
    TemplateTimeout,
    TrackingError,
    TrackingStoreError,
)

__all__ = [
    "ApiError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "BatchUnknownError",
    "ChainStoreError",
    "ClientClosedError",
    "ClientStateError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailed",
    "DeliveryUnknownError",
    "DestinationNotAllowedError",
    "ExportError",
    "ExportTimeout",
    "HandlerTimeout",
    "InboxError",
    "InternalServerError",
    "InvalidMessageError",
    "JournalDamagedError",
    "JournalError",
    "JournalLockedError",
    "JournalMismatchError",
    "JournalVersionError",
    "JournalWriteError",
    "MessageRejectedError",
    "NotFoundError",
    "NotSentError",
    "OutsideWindowError",
    "PermissionDeniedError",
    "QlaraError",
    "RateLimitError",
    "RequestTimeout",
    "Sent",
    "ServerError",
    "StatusTimeout",
    "StatusUnreachableError",
    "StoreError",
    "SuppressedError",
    "TemplateError",
    "TemplateNotApprovedError",
    "TemplateRejectedError",
    "TemplateTimeout",
    "TrackingError",
    "TrackingStoreError",
    "TransferError",
    "TransportError",
    "UndecodableAnswerError",
    "UnprocessableError",
    "UriTooLongError",
    "WrongEventLoopError",
]
