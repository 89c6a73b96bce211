"""Apache Kafka with a listener of every kind and access lists, for tests.

`address` answers without TLS or a login, to whom nothing is refused: for the test itself. All the
others are known by certificate or password, and may do what access lists say.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import NamedTuple

from streams.brokers.apache import ApacheBroker
from streams.brokers.process import HOST, free_port
from streams.settings import SaslMechanism, bundled
from tests.access.certificates import Authority

LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "LOGIN": "SASL_SSL",
    "CLEAR": "SASL_PLAINTEXT",
}
_MODULE = "org.apache.kafka.common.security"
_LOG = "-Dlog4j2.configurationFile="
_DECISION = re.compile(
    r"Principal = User:(\S+) is (Allowed|Denied) operation = (\w+) from host = \S+"
    r" on resource = (\w+):LITERAL:(\S+) "
)


class Decision(NamedTuple):
    """What the broker's authorizer was asked, and what it said."""

    user: str
    allowed: bool
    operation: str
    resource: str
    name: str


class SecuredBroker(ApacheBroker):
    """A broker that knows ``users``, by password in every mechanism and by certificate."""

    def __init__(self, cache: Path, keys: Path, users: tuple[str, ...]) -> None:
        super().__init__(cache)
        self._keys = keys
        self.authority = Authority(keys, "authority")
        self.passwords = {user: secrets.token_urlsafe(18) for user in users}
        self.ports = {name: free_port() for name in LISTENERS}
        self.properties |= self._listeners() | self._logins() | _access_lists()
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            for user, password in self.passwords.items():
                known = f"{mechanism}=[name={user},password={password}]"
                self.format_options += ("--add-scram", known)

    def _command(self, folder: Path) -> list[str]:
        config = self._keys / "log4j2.properties"
        usual = (bundled("deploy") / "kafka" / "log4j2.properties").read_text()
        logger = "logger.authorizer"
        config.write_text(
            f"{usual}{logger}.name = kafka.authorizer.logger\n{logger}.level = debug\n"
        )
        java, *command = super()._command(folder)
        words = [f"{_LOG}{config}" if word.startswith(_LOG) else word for word in command]
        return [java, "-XX:TieredStopAtLevel=1", *words]  # starts in half the CPU time

    def _listeners(self) -> dict[str, str]:
        theirs = ",".join(f"{name}://{HOST}:{port}" for name, port in self.ports.items())
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **LISTENERS}
        return {
            "listeners": f"{self.properties['listeners']},{theirs}",
            "advertised.listeners": f"{self.properties['advertised.listeners']},{theirs}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in protocols.items()
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.authority.issue("broker")),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.certificate),
            "listener.name.mutual.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        }

    def _logins(self) -> dict[str, str]:
        known = " ".join(f'user_{user}="{word}"' for user, word in self.passwords.items())
        found = {
            "sasl.enabled.mechanisms": ",".join(SaslMechanism),
            "listener.name.clear.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        }
        for listener in ("login", "clear"):
            name = f"listener.name.{listener}"
            found[f"{name}.plain.sasl.jaas.config"] = (
                f"{_MODULE}.plain.PlainLoginModule required {known};"
            )
            for scram in ("scram-sha-256", "scram-sha-512"):
                found[f"{name}.{scram}.sasl.jaas.config"] = (
                    f"{_MODULE}.scram.ScramLoginModule required;"
                )
        return found

    def by_password(self, user: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Settings of a connection with TLS and a login."""
        return {
            "brokers": f"{HOST}:{self.ports['LOGIN']}",
            "security_protocol": "sasl_ssl",
            "tls_ca_file": str(self.authority.certificate),
            "sasl_mechanism": mechanism,
            "sasl_username": user,
            "sasl_password": self.passwords[user],
        }

    def in_clear(self, user: str, mechanism: str) -> dict[str, str]:
        """Settings of a connection with a login and no TLS."""
        return {
            "brokers": f"{HOST}:{self.ports['CLEAR']}",
            "security_protocol": "sasl_plaintext",
            "sasl_mechanism": mechanism,
            "sasl_username": user,
            "sasl_password": self.passwords[user],
            "sasl_in_clear": "true",
        }

    def by_certificate(self, user: str) -> dict[str, str]:
        """Settings of a connection with TLS in which both sides show a certificate."""
        return {
            **self.encrypted(),
            "brokers": f"{HOST}:{self.ports['MUTUAL']}",
            "tls_certificate_file": str(self.authority.issue(user)),
        }

    def encrypted(self) -> dict[str, str]:
        """Settings of a connection with TLS whose client says nothing of itself."""
        return {
            "brokers": f"{HOST}:{self.ports['TLS']}",
            "security_protocol": "ssl",
            "tls_ca_file": str(self.authority.certificate),
        }

    def decisions(self) -> set[Decision]:
        """What the authorizer was asked by others than the test since the broker started."""
        assert self._folder is not None
        log = (self._folder / "broker.log").read_text(errors="replace")
        return {
            Decision(user, word == "Allowed", operation, resource, name)
            for user, word, operation, resource, name in _DECISION.findall(log)
            if user != "ANONYMOUS"
        }


def _access_lists() -> dict[str, str]:
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": "User:ANONYMOUS",
    }
