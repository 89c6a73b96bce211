"""The command ``sottovoce``. A command loads what it needs when it runs: ``--help`` is quick."""

from __future__ import annotations

import logging
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from streams import __version__
from streams.cli import consent, console, keys, notice, offsets, options, privacy, rejected, stores
from streams.errors import SottoVoceError

app = typer.Typer(
    name="sottovoce",
    help="Privacy-preserving listening analytics: plays in, taste profiles and reports out.",
    epilog="Start with [bold]sottovoce demo[/]; [bold]sottovoce doctor[/] says what is missing.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
topics_app = typer.Typer(no_args_is_help=True, help="Create and list the topics.")
schema_app = typer.Typer(no_args_is_help=True, help="Check and show schemas, tags and treatments.")
catalogue_app = typer.Typer(no_args_is_help=True, help="Genres of artists, for plays without any.")
app.add_typer(topics_app, name="topics")
app.add_typer(schema_app, name="schema")
app.add_typer(catalogue_app, name="catalogue")
app.add_typer(keys.app, name="keys")
app.add_typer(offsets.app, name="offsets")
app.add_typer(rejected.app, name="rejected")
app.add_typer(privacy.app, name="privacy")
app.add_typer(consent.app, name="consent")


class RoleName(StrEnum):
    """What a worker can be."""

    GATE = "gate"
    TASTE = "taste"
    REPORT = "report"
    ALL = "all"


Rate = Annotated[
    float | None, typer.Option(help="Plays per second; left out: as fast as possible.", min=0.001)
]


@app.command(epilog="Example: sottovoce demo --history ~/Downloads/my_spotify_data.zip")
def demo(
    history: Annotated[
        list[Path] | None,
        typer.Option(
            help="Your own listening history, file or folder, instead of simulated plays."
        ),
    ] = None,
    plays: Annotated[int, typer.Option(min=1, help="Plays to simulate.")] = 200_000,
    listeners: Annotated[int, typer.Option(min=1, help="Listeners to simulate.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, help="Days they span.")] = 28,
    seed: Annotated[int, typer.Option(help="Same seed, same plays.")] = 7,
    data: Annotated[Path, typer.Option(help="Where the results go.")] = Path("var/demo"),
    apache: Annotated[bool, typer.Option(help="Apache Kafka instead of the embedded one.")] = False,
    brokers: Annotated[
        str | None, typer.Option(help="A Kafka of yours; its topics must be new or empty.")
    ] = None,
) -> None:
    """The whole path in one command: plays through Kafka into profiles, marts and a report."""
    from streams.cli import demo as demonstration

    plan = demonstration.Plan(
        history=tuple(history or ()),
        plays=plays,
        listeners=listeners,
        days=days,
        seed=seed,
        data=data,
        apache=apache,
        brokers=brokers,
    )
    options.run(demonstration.run(plan))


@app.command(epilog="Example: sottovoce broker --apache")
def broker(
    apache: Annotated[
        bool, typer.Option(help="Apache Kafka (needs Java and Maven) instead of the embedded one.")
    ] = False,
) -> None:
    """Run a broker for trying out, in the foreground, until Ctrl-C. Nothing survives it."""
    from streams.cli import serve

    options.run(serve.broker(apache=apache))


@app.command(epilog="Example: SOTTOVOCE_KEY_FILE=key.hex sottovoce worker gate")
def worker(
    role: Annotated[RoleName, typer.Argument(help="gate, taste, report, or all three here.")],
    until_eof: Annotated[
        bool, typer.Option(hidden=True, help="Also stop when standard input closes.")
    ] = False,
) -> None:
    """Run a worker until SIGTERM; it finishes its batch, commits and exits within 10 s."""
    from streams.cli import serve

    settings = options.settings()
    if role is RoleName.ALL:
        options.run(serve.all_workers(settings))
    else:
        options.run(serve.worker(settings, role.value, until_eof=until_eof))


@app.command(epilog="Example: sottovoce replay ~/listens.jsonl --user me --grant personalization")
def replay(
    files: Annotated[
        list[Path] | None, typer.Argument(help="History files or folders, to be sent as plays.")
    ] = None,
    user: Annotated[
        str, typer.Option(help="User id for formats that carry none (Spotify).")
    ] = "me",
    grant: Annotated[
        list[options.Purpose] | None,
        typer.Option(
            help="Send the listeners' consent to this purpose, for all plays; repeatable."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Instead of files: have the gate process the plays in Kafka again from beginning, "
            "an offset, or a time (ISO 8601, UTC) they came at.",
        ),
    ] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, help="With --from: that partition of plays only.")
    ] = None,
    rate: Rate = None,
    brokers: options.Brokers = None,
) -> None:
    """Send listening histories, or have plays that Kafka holds processed again (--from).

    Histories are of ListenBrainz, Last.fm 1K, Spotify extended or account data. With --from no gate
    may run; what comes out of it again is skipped by position, so no result changes.
    """
    if (start is None) == (not files):
        raise typer.BadParameter("Name files, or --from, not both.")
    settings = options.settings(brokers)
    if start is not None:
        from streams.cli import resuming

        options.run(resuming.again(settings, start, partition))
        return
    from streams.cli import produce

    purposes = [each.value for each in grant or ()]
    options.run(produce.replay(settings, files or [], user, rate, purposes))


@app.command(epilog="Example: sottovoce simulate --plays 1000000 --rate 2000")
def simulate(
    plays: Annotated[int, typer.Option(min=1, help="Plays to send.")] = 200_000,
    listeners: Annotated[int, typer.Option(min=1, help="Listeners who play them.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, help="Days they span, up to today.")] = 28,
    seed: Annotated[int, typer.Option(help="Same seed, same plays.")] = 7,
    rate: Rate = None,
    brokers: options.Brokers = None,
) -> None:
    """Send plays of simulated listeners, with their catalogue of artists."""
    from streams.cli import produce

    options.run(produce.simulate(options.settings(brokers), plays, listeners, days, seed, rate))


@app.command(epilog="Example: sottovoce profile --follow")
def profile(
    listener: Annotated[str | None, typer.Argument(help="Pseudonym; left out: all.")] = None,
    user: Annotated[
        str | None, typer.Option(help="A user id instead; needs the key, so only beside the gate.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Go on with new profiles until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Show taste profiles: one listener's newest, or the topic as it comes."""
    from streams.cli import profiles

    options.run(
        profiles.show(options.settings(brokers), listener, user, follow=follow, as_json=json)
    )


@app.command(epilog="Example: sottovoce release && duckdb var/reporting.duckdb")
def release(
    timeout: Annotated[float, typer.Option(help="Longest wait for a running worker, s.")] = 120.0,
) -> None:
    """Publish the marts now: through the running report worker, or from the warehouse at rest."""
    from streams.cli import publish

    publish.release(options.settings(), timeout)


@app.command(epilog="Example: sottovoce report --out monday.html")
def report(
    out: Annotated[
        Path | None, typer.Option(help="File; left out: report.html by the data.")
    ] = None,
) -> None:
    """Write the HTML report of the last release. It works offline."""
    from streams.cli import publish

    publish.report(options.settings(), out)


@app.command(epilog="Example: sottovoce doctor --brokers kafka:9092")
def doctor(
    json: Annotated[bool, typer.Option("--json", help="One JSON list of what was found.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Find what is wrong with machine, configuration, Kafka and workers; say what to do."""
    from streams.cli import doctor as checks

    healthy = options.run(checks.run(options.settings(brokers), as_json=json))
    raise typer.Exit(console.OK if healthy else console.FAILED)


@app.command(epilog="Example: sottovoce settings")
def settings() -> None:
    """Show every setting, where it can be set, its value (secrets masked) and what it does."""
    from streams.cli import describe

    describe.settings(options.settings())


app.command("backup", epilog="Example: sottovoce backup /backups/monday")(stores.backup)
app.command("restore", epilog="Example: sottovoce restore /backups/monday")(stores.restore)
app.command("rebuild", epilog="Example: sottovoce rebuild taste")(stores.rebuild)
app.command("notice", epilog="Example: sottovoce notice --format html > notice.html")(notice.notice)


@topics_app.command("create", epilog="Example: SOTTOVOCE_PARTITIONS=16 sottovoce topics create")
def topics_create(brokers: options.Brokers = None) -> None:
    """Create the topics that are missing, with retention and compaction as designed."""
    from streams.cli import describe

    options.run(describe.create_topics(options.settings(brokers)))


@topics_app.command("list", epilog="Example: sottovoce topics list")
def topics_list(brokers: options.Brokers = None) -> None:
    """List the topics: zone, key, purpose, and the partitions the cluster has."""
    from streams.cli import describe

    options.run(describe.list_topics(options.settings(brokers)))


@topics_app.command("acls", epilog="Example: sottovoce topics acls > deploy/kafka/acls.sh")
def topics_acls() -> None:
    """Print the script that gives each user of Kafka the rights it needs and no others."""
    from streams.cli import describe

    describe.access_lists(options.settings())


@schema_app.command("check", epilog="Example: sottovoce schema check || exit 1")
def schema_check() -> None:
    """Fail on a leaf without a treatment, a leaking listen field or an incompatible change."""
    from streams.cli import describe

    raise typer.Exit(describe.check_schemas(options.settings()))


@schema_app.command("show", epilog="Example: sottovoce schema show play")
def schema_show(
    name: Annotated[str | None, typer.Argument(help="Schema; left out: list them.")] = None,
) -> None:
    """Show a schema's fields with their tags and what becomes of each."""
    from streams.cli import describe

    describe.show_schema(options.settings(), name)


@catalogue_app.command("load", epilog="Example: sottovoce catalogue load catalogue.csv")
def catalogue_load(
    file: Annotated[Path, typer.Argument(help="CSV (artist,genres with ;) or JSON lines.")],
    brokers: options.Brokers = None,
) -> None:
    """Fill the catalogue topic: genres for artists whose plays bring none."""
    from streams.cli import produce

    options.run(produce.load_catalogue(options.settings(brokers), file))


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        console.out.print(f"sottovoce {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.out.print(context.get_help())
        raise typer.Exit(console.USAGE)


def main() -> None:
    """Entry point: exit code 0 done, 1 failed with a reason, 2 wrong usage, 130 interrupted."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # a worker is for one core; run several
    os.environ["RUST_BACKTRACE"] = "0"  # a panic of the Avro reader must not print what it read
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our errors say it; workers log it
    try:
        app()
    except SottoVoceError as error:
        console.fail(error.problem, error.remedy)
    except Exception as error:
        from streams.logs import place

        # Its own message may quote a value, so only type and place are shown.
        console.fail(
            f"unexpected {place(error)}.", "This is a fault of the program; please report it."
        )
    sys.exit(console.FAILED)
