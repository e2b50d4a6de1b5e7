"""`vedette plan`: machines, disks and network for so many cameras, from measured unit costs. The figures are `plan_core`'s."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from services.cli.output import OUT, say
from services.cli.plan_core import CORE_SHARE, COSTS, Demand, Plan, bytes_kept
from services.cli.plan_core import plan as make_plan
from shared.config.services import GIB
from shared.domain.errors import ConfigError
from shared.topics import FRAMES, MIB, SEGMENTS, Topic


def plan(
    cameras: Annotated[int, typer.Option("--cameras", help="How many.")],
    mbit: Annotated[float, typer.Option("--mbit", help="Of a camera's main stream, Mbit/s.")] = 4.0,
    fps: Annotated[float, typer.Option("--fps", help="Analysed frames a second per camera; 0: none.")] = 5.0,
    days: Annotated[float, typer.Option("--days", help="How long recordings are kept.")] = 30.0,
    busy: Annotated[float, typer.Option("--busy", help="Share of frames with motion, 0 to 1: the others spare the detector.")] = 1.0,
    worker_cores: Annotated[int, typer.Option("--worker-cores", help="Cores of one analytics worker.")] = 8,
    link_gbit: Annotated[float, typer.Option("--link-gbit", help="Network of every machine, Gbit/s.")] = 1.0,
    disk_tb: Annotated[float, typer.Option("--disk-tb", help="Size of one disk, TB.")] = 16.0,
) -> None:
    """What a site needs: brokers, disks, analytics workers, network."""
    demand = Demand(cameras, mbit, fps, days, busy, worker_cores, link_gbit, disk_tb)
    try:
        made = make_plan(demand)
    except ValueError as error:
        raise ConfigError(str(error), where="vedette plan", hint="see `vedette plan --help`") from error
    table = Table(title=title(demand), title_justify="left", show_header=False)
    for name, value in rows(made):
        table.add_row(name, value)
    OUT.print(table)
    for limit in made.limits:
        say(f"Limit: {limit}.", style="yellow")
    say(f"From {len(COSTS)} measured unit costs; docs/capacity.md has them, and what they leave out.")


def title(demand: Demand) -> str:
    """The demand in a line."""
    gate = "" if demand.busy == 1 else f", {demand.busy:.0%} of them with motion"
    return f"{demand.cameras:,} cameras of {demand.mbit:g} Mbit/s, {demand.fps:g} frames/s analysed{gate}, kept for {demand.days:g} days"


def rows(made: Plan) -> list[tuple[str, str]]:
    """The plan as names and values, for a table."""
    demand = made.demand
    return [
        ("video in", f"{made.video_mb_s:.1f} MB/s"),
        ("frames to analyse", f"{demand.cameras * demand.fps:,.0f} a second, {made.frames_mb_s:.1f} MB/s as JPEG"),
        ("ingest", f"{made.ingest_cores:.2f} cores, {made.ingest_memory_gib:.1f} GiB"),
        ("storage", f"{made.storage_cores:.2f} cores"),
        ("broker and its clients", f"{made.bus_cores:.2f} cores"),
        ("brokers", f"{made.brokers}, replication {made.replicas}, {made.broker_mb_s:.0f} MB/s each"),
        ("log of a broker", f"{made.broker_disk_gb:.0f} GB; segments of {made.video_kept_s:.0f} s, frames of {made.frames_kept_s:.0f} s"),
        ("bus.retention.segments_bytes", _keep(SEGMENTS, made.segments_bytes)),
        ("bus.retention.frames_bytes", _keep(FRAMES, made.frames_bytes)),
        ("detector", f"{made.detector_cores:.1f} cores"),
        ("analytics workers", f"{made.workers} of {demand.worker_cores} cores, {CORE_SHARE:.0%} used"),
        ("recordings", f"{made.recordings_tb:.1f} TB on {made.disks} disks of {demand.disk_tb:g} TB (no redundancy)"),
        ("network, all machines", f"{made.network_mb_s:.0f} MB/s"),
    ]


def _keep(topic: Topic[Any], bytes_: int) -> str:
    """What a topic must keep per partition, as it is written in the site file."""
    size = f"{bytes_ / GIB:g} GiB" if bytes_ >= GIB else f"{bytes_ // MIB} MiB"
    what = f"{size}, the default" if bytes_ == bytes_kept(topic) else size
    return f"{bytes_} ({what})"
