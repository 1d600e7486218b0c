"""The surface of a page: by a rule on its columns, else by a classifier, else unknown.

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

#: Columns that a rule may use: those that are known without looking at the picture.
_COLUMNS = pa.schema(
    [*MANIFEST, *(one for one in PageFetcher.writes if one.name in ("width", "height"))]
)
RULED = pa.field("ruled_surface", pa.string())
SCORE = pa.field("surface_score", pa.float32())


class SurfaceRule(Settings):
    """Gives a surface to the pages whose `column` matches."""

    surface: SurfaceName = Field(description="surface of the pages that match")
    column: str = Field(
        "uri", description=f"one of {', '.join(_COLUMNS.names)}; numbers are compared as text"
    )
    prefix: str | None = Field(None, min_length=1, description="beginning of the value")
    glob: str | None = Field(
        None,
        min_length=1,
        description="pattern of the whole value: * is any text, ? is one character",
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> SurfaceRule:
        if (self.prefix is None) == (self.glob is None):
            raise ValueError("a rule needs either a prefix or a glob, and not both")
        if self.column not in _COLUMNS.names:
            known = ", ".join(_COLUMNS.names)
            raise ValueError(f"there is no column {self.column!r}; the columns are {known}")
        return self

    def holds(self, value: object) -> bool:
        """Whether the rule matches this value of `column`; None never matches."""
        if value is None:
            return False
        if self.prefix is not None:
            return str(value).startswith(self.prefix)
        return fnmatch.fnmatchcase(str(value), self.glob or "")


class SurfacesConfig(Settings):
    """How the surface of a page is found."""

    rules: tuple[SurfaceRule, ...] = Field((), description="the first rule that matches decides")
    classifier: Classifier | None = Field(
        SurfaceStatistics(),
        description="classifier for pages that match no rule; null: these have no surface",
    )
    min_score: float = Field(
        0.8,
        ge=0,
        le=1,
        description="lowest score of a guess that counts; below it reader.unsure gets the page",
    )

    @property
    def columns(self) -> pa.Schema:
        """The columns that the rules use."""
        names = dict.fromkeys(rule.column for rule in self.rules)
        return pa.schema([_COLUMNS.field(name) for name in names])


def ruled_surface(page: Mapping[str, object], config: SurfacesConfig) -> SurfaceName | None:
    """The surface of the first rule that matches a page; None: no rule matches."""
    held = (rule.surface for rule in config.rules if rule.holds(page[rule.column]))
    return next(held, None)


def _by_rule(config: SurfacesConfig) -> Step:
    """A step that reads the columns of the rules."""
    return Step("name_by_rule", config.columns, pa.schema([RULED]), _named)


def _named(rows: pa.Table, config: SurfacesConfig) -> pa.Table:
    names = config.columns.names
    pages = rows.select(names).to_pylist() if names else [{}] * rows.num_rows
    ruled = [ruled_surface(page, config) for page in pages]
    return rows.append_column(RULED, pa.array(ruled, RULED.type))


@step(reads=pa.schema([RULED]), writes=pa.schema([SURFACE, SCORE]))
def settle_by_rule(rows: pa.Table, _: SurfacesConfig) -> pa.Table:
    """The surface of the rule, or null: there is no classifier."""
    unknown = pa.nulls(rows.num_rows, SCORE.type)
    return rows.append_column(SURFACE, rows[RULED.name]).append_column(SCORE, unknown)


@step(
    reads=pa.schema([RULED, *(one for one in Surface.writes if one.name != "surface_failure")]),
    writes=pa.schema([SURFACE, SCORE]),
)
def settle_surface(rows: pa.Table, config: SurfacesConfig) -> pa.Table:
    """The surface of the rule, else a guess of at least `min_score`, else null.

    `surface_score` is the score of the guess, also below `min_score`; null where a rule decided.
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
    """Add `surface` and `surface_score`; the classifier runs in `pool`. Raises SchemaMismatch."""
    flow = flow.map(_by_rule(config), config)
    if config.classifier is None:
        return flow.map(settle_by_rule, config).drop(RULED.name)
    flow = flow.through(Surface, config.classifier, pool).map(settle_surface, config)
    return flow.drop(RULED.name, *Surface.writes.names)
