"""Commands for the master key and the ring of epochs. They run where the gate's keys are."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import console, options

if TYPE_CHECKING:
    from streams.agents.codecs import Codecs
    from streams.privacy.ringfile import Epoch
    from streams.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="The keys behind the pseudonyms: make, rotate, destroy, check."
)


@app.command("init", epilog="Example: sottovoce keys init /etc/sottovoce/key.hex")
def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Master key to create, with FILE.ring beside it, both readable by their owner "
            "only; left out: the ring alone, for the key that the settings name."
        ),
    ] = None,
    vault: Annotated[
        bool, typer.Option("--vault", help="The ring alone, sealed by the Vault of the settings.")
    ] = False,
) -> None:
    """Create a master key and a first epoch. Whoever has them can tell who a pseudonym is."""
    from streams.privacy import keyring, keys, master

    if file is not None:
        if vault:
            raise typer.BadParameter("With --vault there is no key file; set key_ring instead.")
        keys.create(file)
        console.out.print(str(file), markup=False)
        console.out.print(str(keyring.beside(file)), markup=False)
        console.err.print(
            "[dim]Give both to the gate alone: export SOTTOVOCE_KEY_FILE="
            f"{console.plain(str(file))}. Without them no listener can be recognized again; with "
            "them every pseudonym can be recomputed.[/]"
        )
        return
    settings = options.settings()
    if vault and settings.vault_url is None:
        raise typer.BadParameter("--vault needs vault_url, vault_token_file and key_ring.")
    path = keyring.path_of(settings)
    keyring.create(path, master.of(settings))
    console.out.print(str(path), markup=False)


@app.command("list", epilog="Example: sottovoce keys list")
def list_epochs() -> None:
    """List the epochs of the ring: when each began, and what it is good for."""
    from rich.table import Table

    from streams.privacy import keyring

    table = Table("epoch", "created", "state", box=None)
    for epoch in keyring.load(options.settings()).epochs:
        table.add_row(str(epoch.number), _moment(epoch.created_ms), _state(epoch))
    console.out.print(table)


@app.command("rotate", epilog="Example: sottovoce keys rotate --rekey-all")
def rotate(
    rekey_all: Annotated[
        bool,
        typer.Option(
            "--rekey-all",
            help="Also ask that every account in the consent topic move now, not when it next "
            "plays; while an overlap is under way, that alone.",
        ),
    ] = False,
    brokers: options.Brokers = None,
) -> None:
    """Begin a new epoch. Until the overlap ends, listeners move to their new pseudonyms."""
    from streams.privacy import keyring

    settings, now_ms = options.settings(brokers), _now_ms()
    if not rekey_all or keyring.load(settings, now_ms).overlap_ends_ms is None:
        console.out.print(f"epoch {keyring.rotate(settings, now_ms)} begins")
    ring = keyring.load(settings, now_ms)
    if rekey_all:
        console.out.print(f"{options.run(request_rekey_all(settings))} accounts asked to move")
    if ring.overlap_ends_ms is not None:
        console.err.print(
            f"[dim]The overlap ends {_moment(ring.overlap_ends_ms)}. Then run "
            f"`sottovoce keys destroy {ring.usable[0]}`: until the old epoch is destroyed, old "
            "copies of the data can be linked to the new.[/]"
        )


@app.command("destroy", epilog="Example: sottovoce keys destroy 1")
def destroy(
    epoch: Annotated[int, typer.Argument(help="Epoch to destroy; `keys list` shows them.")],
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Although an overlap is under way; listeners who have not moved lose their "
            "history. Run it again when the gate has noticed.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Destroy an old epoch for good, and the records that link its pseudonyms to the new ones.

    Backups of the ring file still have it: destroy them too. With Vault there is a way to make them
    useless: rotate the transit key before this command, raise its min_decryption_version after.
    """
    from streams.privacy import keyring

    settings, now_ms = options.settings(brokers), _now_ms()
    keyring.check_destruction(settings, epoch, now_ms, force=force)
    if not yes:
        typer.confirm(f"Destroy key epoch {epoch}? It cannot be undone.", abort=True, err=True)
    options.run(delete_links(settings))
    keyring.destroy(settings, epoch, now_ms, force=force)
    console.out.print(f"epoch {epoch} is destroyed; the records that linked it are deleted")
    console.err.print(
        "[dim]Backups of the ring file still have its seed: destroy them too. Its old blocks were "
        "overwritten; snapshots and flash memory may keep them. The deleted records cannot be read "
        "any more, but stay on the brokers' disks until Kafka removes their segments.[/]"
    )


@app.command("verify", epilog="Example: sottovoce keys verify || exit 1")
def verify() -> None:
    """Check the master and the ring: readable by their owner only, whole, and made together."""
    from streams.errors import KeyMaterialError
    from streams.privacy import keyring, master

    settings = options.settings()
    checks: tuple[tuple[str, Callable[[Settings], object]], ...] = (
        ("master", master.of),
        ("ring", keyring.load),
        ("seeds", keyring.verify),
    )
    for name, check in checks:
        try:
            check(settings)
        except KeyMaterialError as error:
            console.out.print(f"[bold red]failed[/]  {name}")
            console.fail(error.problem, error.remedy)
            raise typer.Exit(console.FAILED) from None
        console.out.print(f"ok      {name}")


async def request_rekey_all(settings: Settings) -> int:
    """Ask on privacy-requests that each account in the consent topic move to the current epoch.

    Returns:
        How many accounts.

    Raises:
        BrokerError: Kafka cannot be reached or a topic is missing; some or no requests were sent.
        StateError: something else than this package wrote to the consent topic.
    """
    from uuid import uuid4

    from streams.app.roles import open_codecs
    from streams.topics import PRIVACY_REQUESTS
    from streams.transport.producer import open_producer, send_keyed

    async with (
        open_codecs(settings) as codecs,
        open_producer(settings.kafka, idempotent=settings.idempotence) as producer,
    ):
        accounts = await _accounts(settings, codecs)
        encoder, now_ms = await codecs.records(PRIVACY_REQUESTS), _now_ms()
        requests = encoder.encode(
            {"request_id": uuid4().hex, "user_id": user, "action": "rekey", "requested_at": now_ms}
            for user in accounts
        )
        # By key, so that they keep their order with what the person asks for.
        keys = (user.encode() for user in accounts)
        await send_keyed(producer, PRIVACY_REQUESTS.name, zip(keys, requests, strict=True))
    return len(accounts)


async def delete_links(settings: Settings) -> None:
    """Delete every record of privacy-rekeys: from then on none can be read.

    Their bytes stay on the brokers' disks until Kafka removes the segments that hold them, which it
    does with none that it still writes to.

    Raises:
        BrokerError: Kafka cannot be reached, the topic is missing, or records are still there.
    """
    from aiokafka import TopicPartition
    from aiokafka.admin import RecordsToDelete
    from aiokafka.errors import KafkaError

    from streams.errors import BrokerError
    from streams.topics import PRIVACY_REKEYS
    from streams.transport.admin import admin_client
    from streams.transport.reader import end_offsets, partition_reader

    async with (
        partition_reader(settings.kafka) as reader,
        admin_client(settings.kafka) as admin,
    ):
        ends = await end_offsets(reader, PRIVACY_REKEYS.name)
        _require(PRIVACY_REKEYS.name, list(ends))
        tps = [TopicPartition(PRIVACY_REKEYS.name, number) for number in ends]
        try:
            await admin.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in tps})
            starts = await reader.beginning_offsets(tps)
        except KafkaError as error:
            raise BrokerError(
                f"Kafka did not delete the records of {PRIVACY_REKEYS.name}, which link old and "
                f"new pseudonyms: {type(error).__name__}.",
                "No key was destroyed. Allow DeleteRecords on the topic; the embedded broker "
                "cannot do it.",
            ) from error
    if any(starts[tp] < ends[tp.partition] for tp in tps):
        raise BrokerError(
            f"Kafka still has records of {PRIVACY_REKEYS.name}.",
            "No key was destroyed; try again.",
        )


async def _accounts(settings: Settings, codecs: Codecs) -> list[str]:
    """Accounts that have a decision in the consent topic, each once."""
    from streams.topics import CONSENT
    from streams.transport.reader import end_offsets, partition_reader, read_span

    newest: dict[bytes | None, str | None] = {}
    async with partition_reader(settings.kafka) as reader:
        numbers = list(await end_offsets(reader, CONSENT.name))
        _require(CONSENT.name, numbers)
        for number in numbers:
            async for batch in read_span(reader, CONSENT.name, number):
                values = [value for value in batch.values if value is not None]
                users = iter(
                    (await codecs.decode(values, ("user_id",)))["user_id"] if values else ()
                )
                for key, value in zip(batch.keys, batch.values, strict=True):
                    newest[key] = None if value is None else next(users)
    return sorted({user for user in newest.values() if user is not None})


def _require(topic: str, partitions: list[int]) -> None:
    from streams.errors import BrokerError

    if not partitions:
        raise BrokerError(f"Topic {topic} does not exist.", "`sottovoce topics create` makes it.")


def _state(epoch: Epoch) -> str:
    if epoch.destroyed_ms is not None:
        return f"{epoch.state}, {_moment(epoch.destroyed_ms)}"
    if epoch.ends_ms is None:
        return str(epoch.state)
    until = "until " if epoch.state == "overlap" else ""
    return f"{epoch.state} {until}{_moment(epoch.ends_ms)}"


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
