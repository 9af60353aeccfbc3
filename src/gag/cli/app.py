"""The verbs of `gag`, in the order in which a newcomer meets them."""

from __future__ import annotations

from typing import Annotated

import typer

from gag.cli.align import align
from gag.cli.ask import ask
from gag.cli.bench import bench
from gag.cli.build import build
from gag.cli.chat import chat
from gag.cli.demo import demo
from gag.cli.doctor import doctor
from gag.cli.domain import domain_app
from gag.cli.eval import evaluate
from gag.cli.export import export_app
from gag.cli.graph import graph_app
from gag.cli.ingest import ingest
from gag.cli.init import init
from gag.cli.output import write_text
from gag.cli.pretrain import pretrain
from gag.cli.prototypes import prototypes
from gag.cli.qa import qa
from gag.cli.raft import raft_app
from gag.cli.rog import rog_app
from gag.cli.route import route
from gag.cli.router import router_app
from gag.cli.synth import synth
from gag.cli.train import train
from gag.cli.update import update

START, MAKE, USE, TEND = "Start", "Build a domain", "Ask", "Look after"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        write_text(f"gag {version('gag')}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """The typer application."""
    app = typer.Typer(
        name="gag",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.command("demo", rich_help_panel=START)(demo)
    app.command("init", rich_help_panel=START)(init)
    app.command("doctor", rich_help_panel=START)(doctor)
    app.command("ingest", rich_help_panel=MAKE)(ingest)
    app.command("synth", rich_help_panel=MAKE)(synth)
    app.command("qa", rich_help_panel=MAKE)(qa)
    app.command("build", rich_help_panel=MAKE)(build)
    app.command("update", rich_help_panel=MAKE)(update)
    app.command("train", rich_help_panel=MAKE)(train)
    app.command("pretrain", rich_help_panel=MAKE)(pretrain)
    app.command("align", rich_help_panel=MAKE)(align)
    app.command("prototypes", rich_help_panel=MAKE)(prototypes)
    app.command("route", rich_help_panel=USE)(route)
    app.command("ask", rich_help_panel=USE)(ask)
    app.command("chat", rich_help_panel=USE)(chat)
    app.command("eval", rich_help_panel=USE)(evaluate)
    app.command("bench", rich_help_panel=USE)(bench)
    app.add_typer(raft_app(), rich_help_panel=MAKE)
    app.add_typer(graph_app(), rich_help_panel=MAKE)
    app.add_typer(rog_app(), rich_help_panel=MAKE)
    app.add_typer(domain_app(), rich_help_panel=TEND)
    app.add_typer(router_app(), rich_help_panel=TEND)
    app.add_typer(export_app(), rich_help_panel=TEND)
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Private knowledge in one token: build domain modules, and let a frozen language model answer from them."""
