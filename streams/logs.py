"""Log lines: one JSON object (or one line of text) each, on standard error, times in UTC.

An exception is shown as its type and place. Its message is shown only if it is one of ours: those
are written without field values, a library's message may quote one.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import structlog
from structlog.typing import EventDict, Processor

from streams.errors import SottoVoceError
from streams.settings import LogFormat, Settings

_CHATTY = (
    "faust", "mode", "aiokafka", "asyncio", "streams.transport.driver",
    "streams.transport.fetching", "streams.app.health",
)  # fmt: skip
"""Loggers that tell every step of a service's life; their warnings are enough."""


def place(error: BaseException) -> str:
    """Type of ``error`` and the innermost place it passed through, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    where = (
        f" in {Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}"
        if frames
        else ""
    )
    return f"{type(error).__name__}{where}"


def _safe_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, SottoVoceError):
        event["error"] = str(error)
    elif isinstance(error, BaseException):
        event["error"] = place(error)
    return event


def configure(settings: Settings, **context: str) -> None:
    """Send all logging of this process, also the libraries', through one formatter."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _safe_exception,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # A checkpoint that takes longer than its interval is no event: the next one follows at once.
    logging.getLogger("mode.timers").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**context)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry ``name``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
