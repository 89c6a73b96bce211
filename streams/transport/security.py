"""How a connection to Kafka is protected, and what to say when Kafka refuses it.

aiokafka says of any connection that fails that it cannot bootstrap, and logs the cause. `refusal`
connects once more to learn it, so that an operator reads which setting to change.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.metadata import MetadataRequest
from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from streams.errors import AccessError, BrokerError, SettingsError
from streams.settings import PREFIX, Kafka

_OTHERS = 0o007
_PROBE_MS = 5_000


def addresses(kafka: Kafka) -> list[str]:
    """Each broker as ``host:port``."""
    return [address.strip() for address in kafka.brokers.split(",")]


def client_arguments(kafka: Kafka) -> dict[str, Any]:
    """Where to connect to and how, as keyword arguments of any aiokafka client.

    Reads the files that the settings name.

    Raises:
        SettingsError: one of them cannot be used; the message names its setting.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": addresses(kafka),
        "security_protocol": kafka.security_protocol.name,
    }
    if kafka.security_protocol.tls:
        arguments["ssl_context"] = _context(kafka)
    if kafka.security_protocol.sasl:
        arguments |= {
            "sasl_mechanism": kafka.sasl_mechanism.value,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": _password(kafka),
        }
    return arguments


def credentials(kafka: Kafka) -> CredentialsT | None:
    """The same for a Faust app's ``broker_credentials``.

    Raises:
        SettingsError: as `client_arguments`.
    """
    if kafka.security_protocol.sasl:
        return SASLCredentials(
            username=kafka.sasl_username,
            password=_password(kafka),
            ssl_context=_context(kafka) if kafka.security_protocol.tls else None,
            mechanism=kafka.sasl_mechanism.value,
        )
    return SSLCredentials(_context(kafka)) if kafka.security_protocol.tls else None


_LACKING = {
    TopicAuthorizationFailedError: "Read, Write or Create on the topic",
    GroupAuthorizationFailedError: "Read on the consumer group",
    TransactionalIdAuthorizationFailed: "Write on the transactional id",
    ClusterAuthorizationFailedError: "Write on any topic, or Create to make some",
}


def denied(error: BaseException, what: str) -> AccessError | None:
    """What to say if ``error`` means that access lists keep ``what`` from us; else None."""
    for kind, right in _LACKING.items():
        if isinstance(error, kind):
            return AccessError(
                f"Kafka's access lists keep this user from {what}: it lacks {right}.",
                "`sottovoce topics acls` prints what grants each user what it needs; or"
                f" {PREFIX}SASL_USERNAME (or the certificate) is that of another role.",
            )
    return None


@contextmanager
def allowed(what: str) -> Iterator[None]:
    """Has an `AccessError` raised, which names ``what``, for what access lists refuse within."""
    try:
        yield
    except KafkaError as error:
        lacking = denied(error, what)
        if lacking is None:
            raise
        raise lacking from error


async def refusal(kafka: Kafka, error: KafkaError) -> BrokerError:
    """What to say of ``error``, with which a client did not start. Connects to each broker in turn
    until one says why not, 5 s each at most."""
    if (lacking := denied(error, "a connection")) is not None:
        return lacking
    for host, port, _ in collect_hosts(addresses(kafka)):
        cause = await _cause(kafka, host, port)
        if cause is not None and (explained := _explained(f"{host}:{port}", cause)) is not None:
            return explained
    return BrokerError(
        f"Kafka at {kafka.brokers} does not answer: {type(error).__name__}.",
        f"Start it (`sottovoce broker` runs one for trying out) or set {PREFIX}BROKERS.",
    )


async def _cause(kafka: Kafka, host: str, port: int) -> BaseException | None:
    arguments = client_arguments(kafka)
    del arguments["bootstrap_servers"]
    connection = AIOKafkaConnection(host, port, request_timeout_ms=_PROBE_MS, **arguments)
    try:
        await connection.connect()
        await connection.send(MetadataRequest([]))
    except (OSError, TimeoutError, KafkaError) as error:
        return error
    finally:
        closed = connection.close()
        if connection._protocol is not None:  # else nothing was opened
            await asyncio.wait([closed], timeout=_PROBE_MS / 1_000)
    return None


def _explained(address: str, cause: BaseException) -> BrokerError | None:
    """The error for the operator; None if it is not about access."""
    inner = cause.__cause__ or cause
    match inner:
        case ssl.SSLCertVerificationError(verify_code=code):
            return _untrusted(address, inner.verify_message, hostname=code in _WRONG_NAME)
        case ssl.SSLError(reason=reason) if "ALERT" in (reason or ""):
            return AccessError(
                f"Kafka at {address} refuses our certificate, or that we have none.",
                f"Set {PREFIX}TLS_CERTIFICATE_FILE and {PREFIX}TLS_KEY_FILE to one that an"
                " authority which the broker trusts has signed.",
            )
        case SaslAuthenticationFailed() | AuthenticationFailedError():
            return AccessError(
                f"Kafka at {address} refuses the login.",
                f"Check {PREFIX}SASL_USERNAME, {PREFIX}SASL_PASSWORD (or _FILE) and"
                f" {PREFIX}SASL_MECHANISM: a SCRAM user has a password of its own per mechanism.",
            )
        case UnsupportedSaslMechanismError():
            return AccessError(
                f"Kafka at {address} does not offer this kind of login.",
                f"Set {PREFIX}SASL_MECHANISM to one of its sasl.enabled.mechanisms.",
            )
    if isinstance(inner, _ENDED):
        return AccessError(
            f"Something listens at {address} but ends the connection.",
            f"Its listener may want TLS, a login, or neither: set {PREFIX}SECURITY_PROTOCOL to"
            " that of the port. For mutual TLS it wants a certificate, too; and a Kafka that starts"
            " or stops ends connections as well.",
        )
    return None


_ENDED = (
    ssl.SSLError,
    ConnectionResetError,
    asyncio.IncompleteReadError,
    KafkaConnectionError,
    IllegalSaslStateError,
)
_WRONG_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH of OpenSSL."""


def _untrusted(address: str, why: str, *, hostname: bool) -> AccessError:
    remedy = (
        f"Name the broker in {PREFIX}BROKERS (and in its advertised.listeners) as its certificate"
        " does."
        if hostname
        else f"Set {PREFIX}TLS_CA_FILE to the certificate of the authority that signed Kafka's."
    )
    return AccessError(
        f"The certificate of Kafka at {address} is not trusted: {why.rstrip('.')}.", remedy
    )


def _context(kafka: Kafka) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the broker's certificate and name checked."""
    files = ("tls_ca_file", "tls_certificate_file", "tls_key_file", "tls_key_password_file")
    for name in files:
        _readable(name, getattr(kafka, name))
    own = kafka.tls_certificate_file
    key_setting = "tls_key_file" if kafka.tls_key_file else "tls_certificate_file"
    if own is not None:
        _closed(key_setting, kafka.tls_key_file or own)
    try:
        context: ssl.SSLContext = create_ssl_context(cafile=kafka.tls_ca_file)
    except ssl.SSLError:
        raise SettingsError(
            "tls_ca_file holds no certificate in PEM.",
            f"Set {PREFIX}TLS_CA_FILE to one that begins with BEGIN CERTIFICATE.",
        ) from None
    if own is not None:
        try:
            context.load_cert_chain(own, kafka.tls_key_file, lambda: _key_password(kafka))
        except ssl.SSLError:
            raise SettingsError(
                f"tls_certificate_file and {key_setting} do not hold a certificate and its key in"
                " PEM, or the key's password is another.",
                f"Set {PREFIX}TLS_CERTIFICATE_FILE, {PREFIX}TLS_KEY_FILE and"
                f" {PREFIX}TLS_KEY_PASSWORD_FILE to what belongs together.",
            ) from None
    return context


def _key_password(kafka: Kafka) -> str:
    if kafka.tls_key_password_file is None:  # else OpenSSL would ask on the terminal
        raise SettingsError(
            "The key of tls_certificate_file has a password.",
            f"Set {PREFIX}TLS_KEY_PASSWORD_FILE to the file that holds it.",
        )
    return _secret("tls_key_password_file", kafka.tls_key_password_file)


def _password(kafka: Kafka) -> str:
    if kafka.sasl_password is not None:
        return kafka.sasl_password.get_secret_value()
    assert kafka.sasl_password_file is not None
    return _secret("sasl_password_file", kafka.sasl_password_file)


def _secret(name: str, path: Path) -> str:
    """What a file holds, without the line's end."""
    _readable(name, path)
    _closed(name, path)
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except ValueError:
        raise SettingsError(f"{name} is no text in UTF-8.", f"Correct {_variable(name)}.") from None


def _readable(name: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.open("rb").close()
    except OSError as error:
        _refuse(name, f"cannot be opened: {error.strerror}")


def _closed(name: str, path: Path) -> None:
    if path.stat().st_mode & _OTHERS:
        _refuse(name, "is open to other users; `chmod o= FILE` closes it")


def _refuse(name: str, why: str) -> NoReturn:
    raise SettingsError(f"{name} {why}.", f"{_variable(name)} names the file.")


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"
