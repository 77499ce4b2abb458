"""What kinds of images there are: the map and the clusters."""

from __future__ import annotations

from curator.report import charts, maps, words
from curator.report.markup import Html, h, join
from curator.report.numbers import ClusterRow, Clusters, Report
from curator.report.pictures import Pictures
from curator.report.sections.parts import Section, missing, table

CLUSTERS, EXAMPLES = 24, 3
CLUSTERS_LISTED = 500  # without pictures
MAP_MEDOIDS = 24  # considered; those that find room are drawn


def structure(report: Report, pictures: Pictures) -> Section:
    """Map, then clusters."""
    return Section("structure", "What is in the data", join(_map(report, pictures), _clusters(report, pictures)))


def _map(report: Report, pictures: Pictures) -> Html:
    found = report.map
    if found is None:
        return join(h("h3", "Map"), missing(report, "No map yet.", "map"))
    layout = maps.lay_out(found)
    rows = report.clusters.rows if report.clusters else ()
    medoids = [(row.examples[0], row.cluster) for row in rows if row.examples][:MAP_MEDOIDS]
    n, n_picked = len(found.rows), int(found.picked.sum())
    caption = (
        f"Near points look alike; long distances and empty space mean little. {found.method.upper()} of {n:,} points."
    )
    if found.preserved is not None:
        caption += f" A point keeps {words.percent(found.preserved)} of its neighbours here."
    if layout.n_beyond:
        caption += f" {layout.n_beyond:,} outliers are drawn at the edge."
    describe = f"Map of {n:,} points in {len(rows):,} clusters, {n_picked:,} picks ringed."
    return join(
        h("h3", "Map"),
        h(
            "figure",
            maps.picture(found, layout, medoids=medoids, use=pictures.use, describe=describe),
            _legend(report, n_picked),
            h("figcaption", caption, class_="muted small"),
        ),
    )


def _legend(report: Report, n_picked: int) -> Html:
    rows = report.clusters.rows if report.clusters else ()
    entries = [(charts.colour_class(row.cluster), _name(row), row.size) for row in rows[: charts.N_COLOURS]]
    n_other = sum(row.size for row in rows[charts.N_COLOURS :])
    n_noise = report.clusters.n_noise if report.clusters else 0
    entries += [("c-other", "other clusters", n_other)] if n_other else []
    entries += [("c-other", "in no cluster", n_noise)] if n_noise else []
    entries += [("picked", "picked", n_picked)] if n_picked else []
    return h(
        "ul",
        [
            h("li", h("span", class_=f"dot {kind}"), name, " ", h("span", f"{size:,}", class_="muted"))
            for kind, name, size in entries
        ],
        class_="legend",
    )


def _clusters(report: Report, pictures: Pictures) -> Html:
    found = report.clusters
    if found is None:
        return join(h("h3", "Clusters"), missing(report, "No clusters yet.", "cluster"))
    intro = f"{len(found.rows):,} clusters of {report.count(found.n)}, made by {found.method}."
    if found.n_noise:
        intro += f" {found.n_noise:,} ({words.share(found.n_noise, found.n)}) belong to none."
    if any(row.name for row in found.rows):
        intro += " Names are the tags that stand out in a cluster."
    return join(
        h("h3", "Clusters"),
        h("p", intro, class_="muted"),
        h("ul", [_cluster(row, found, pictures) for row in found.rows[:CLUSTERS]], class_="clusters"),
        _smaller(found),
    )


def _cluster(row: ClusterRow, found: Clusters, pictures: Pictures) -> Html:
    name, colour = _name(row), charts.colour_class(row.cluster)
    about = f"{row.size:,} ({words.share(row.size, found.n)})"
    if row.n_picked is not None:
        about += f" · {row.n_picked:,} picked" if row.n_picked else " · none picked"
    examples = [
        pictures.show(example, f"example {i} of {name}") for i, example in enumerate(row.examples[:EXAMPLES], 1)
    ]
    return h(
        "li",
        h("h4", h("span", class_=f"dot {colour}"), name),
        h("div", examples, class_="examples"),
        charts.bar(0.0, row.size / found.n if found.n else 0.0, f"cluster {colour}"),
        h("p", about, class_="about"),
    )


def _smaller(found: Clusters) -> Html | None:
    rest = found.rows[CLUSTERS:]
    if not rest:
        return None
    rows = [
        (
            row.cluster,
            row.name,
            f"{row.size:,}",
            words.share(row.size, found.n),
            "–" if row.n_picked is None else f"{row.n_picked:,}",
        )
        for row in rest[:CLUSTERS_LISTED]
    ]
    columns = ("Cluster", "Name", "Size", "Share", "Picked")
    beyond = len(rest) - CLUSTERS_LISTED
    return h(
        "details",
        h("summary", f"The other {len(rest):,} clusters"),
        table(columns, rows, label="Smaller clusters", numeric=(0, 2, 3, 4)),
        h("p", f"{beyond:,} more are in report.json.", class_="muted") if beyond > 0 else None,
    )


def _name(row: ClusterRow) -> str:
    return f"{row.cluster} · {row.name}" if row.name else f"Cluster {row.cluster}"
