"""Which surface a page shows: by a rule of its source, else by a look at it, else nobody knows.

Flow(MANIFEST).through(PageFetcher, ...)     # + image
with_surfaces(flow, config, pool)
    name_by_rule                             # + ruled_surface
    through(Surface)                         # + guessed_surface, guess_score
    settle_surface                           # + surface, surface_score
read_by(flow, BySurface(...), stages)        # `pipelines.decisions.readers`: + reader
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

import pyarrow as pa
from pydantic import Field, model_validator

from actors.contract import Pool, Settings
from actors.surfaces.settings import Classifier, SurfaceName, SurfaceStatistics
from actors.surfaces.surface import Surface
from pipelines.decisions.readers import SURFACE
from pipelines.flow import Flow, Step, step
from pipelines.pages.fetch import PageFetcher
from pipelines.sources.manifest import MANIFEST

#: What a rule may look at: what is known of a page before anybody looks at it.
_COLUMNS = pa.schema(
    [*MANIFEST, *(one for one in PageFetcher.writes if one.name in ("width", "height"))]
)
RULED = pa.field("ruled_surface", pa.string())
SCORE = pa.field("surface_score", pa.float32())


class SurfaceRule(Settings):
    """Pages whose `column` has a value of this form show this surface."""

    surface: SurfaceName = Field(description="what these pages show")
    column: str = Field(
        "uri", description=f"one of {', '.join(_COLUMNS.names)}; numbers are compared as text"
    )
    prefix: str | None = Field(None, min_length=1, description="what the value begins with")
    glob: str | None = Field(
        None, min_length=1, description="what the whole value looks like: * any text, ? one letter"
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> SurfaceRule:
        if (self.prefix is None) == (self.glob is None):
            raise ValueError("a rule has either a prefix or a glob")
        if self.column not in _COLUMNS.names:
            raise ValueError(f"there is no column {self.column!r}: {', '.join(_COLUMNS.names)}")
        return self

    def holds(self, value: object) -> bool:
        """Whether a page with this value in `column` is meant. Null never is."""
        if value is None:
            return False
        if self.prefix is not None:
            return str(value).startswith(self.prefix)
        return fnmatch.fnmatchcase(str(value), self.glob or "")


class SurfacesConfig(Settings):
    """How the surface of a page is told."""

    rules: tuple[SurfaceRule, ...] = Field((), description="the first that holds decides")
    classifier: Classifier | None = Field(
        SurfaceStatistics(), description="looks at pages that no rule names; null: nobody does"
    )
    min_score: float = Field(
        0.8, ge=0, le=1, description="a guess below this is none: the general reader gets the page"
    )

    @property
    def columns(self) -> pa.Schema:
        """What the rules look at."""
        names = dict.fromkeys(rule.column for rule in self.rules)
        return pa.schema([_COLUMNS.field(name) for name in names])


def ruled_surface(page: Mapping[str, object], config: SurfacesConfig) -> SurfaceName | None:
    """The surface of the first rule that holds for a page."""
    held = (rule.surface for rule in config.rules if rule.holds(page[rule.column]))
    return next(held, None)


def _by_rule(config: SurfacesConfig) -> Step:
    """A step that reads what the rules of `config` look at."""
    return Step("name_by_rule", config.columns, pa.schema([RULED]), _named)


def _named(rows: pa.Table, config: SurfacesConfig) -> pa.Table:
    names = config.columns.names
    pages = rows.select(names).to_pylist() if names else [{}] * rows.num_rows
    ruled = [ruled_surface(page, config) for page in pages]
    return rows.append_column(RULED, pa.array(ruled, RULED.type))


@step(reads=pa.schema([RULED]), writes=pa.schema([SURFACE, SCORE]))
def settle_by_rule(rows: pa.Table, _: SurfacesConfig) -> pa.Table:
    """The rule's word is all there is."""
    unknown = pa.nulls(rows.num_rows, SCORE.type)
    return rows.append_column(SURFACE, rows[RULED.name]).append_column(SCORE, unknown)


@step(
    reads=pa.schema([RULED, *(one for one in Surface.writes if one.name != "surface_failure")]),
    writes=pa.schema([SURFACE, SCORE]),
)
def settle_surface(rows: pa.Table, config: SurfacesConfig) -> pa.Table:
    """The rule's word, else a guess that is sure enough.

    `surface` is null where neither is there; `surface_score` is that of the guess, sure or not,
    null where a rule decided.
    """
    columns = (rows[name].to_pylist() for name in (RULED.name, "guessed_surface", "guess_score"))
    triples = list(zip(*columns, strict=True))
    settled = [
        ruled or (guess if score is not None and score >= config.min_score else None)
        for ruled, guess, score in triples
    ]
    scores = [score for _, _, score in triples]
    return rows.append_column(SURFACE, pa.array(settled, SURFACE.type)).append_column(
        SCORE, pa.array(scores, SCORE.type)
    )


def with_surfaces(flow: Flow, config: SurfacesConfig, pool: Pool) -> Flow:
    """`flow` with `surface` and `surface_score`; `pool` is the classifier's.

    Raises SchemaMismatch.
    """
    flow = flow.map(_by_rule(config), config)
    if config.classifier is None:
        return flow.map(settle_by_rule, config).drop(RULED.name)
    flow = flow.through(Surface, config.classifier, pool).map(settle_surface, config)
    return flow.drop(RULED.name, *Surface.writes.names)
