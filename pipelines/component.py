"""A study as a Dagster Component: the schema is the study's, the graph is the study's."""

from pathlib import Path
from typing import Self

import dagster as dg
from pydantic import BaseModel

from pipelines.schedules import study_definitions
from tunewise.study import Study


class StudyComponent(dg.Component):
    """One comparison: data, backbones, variants, seeds, budget. One study is one asset graph."""

    def __init__(self, study: Study, base: Path) -> None:
        self.study = study
        self.base = base

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the study's schema."""
        return Study

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """Return the component of a validated study, whose relative paths start from its file's folder."""
        return cls(Study.model_validate(attributes), context.path)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - the interface's signature
        """Return the study's assets, jobs and schedule."""
        return study_definitions(self.study, self.base)
