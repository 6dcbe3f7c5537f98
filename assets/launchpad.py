"""The form in which Dagster's launchpad shows a variant's settings."""

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic import Field, create_model

from tunewise.contracts import Settings
from tunewise.study import Variant

PLAIN = (bool, int, float, str)


def launchpad(variant: Variant) -> type[dg.Config]:
    """Return a form with the variant's settings as its defaults; what is changed there counts for one run."""
    values = variant.settings.model_dump(mode="json")
    fields: dict[str, Any] = {
        name: (_shown(field.annotation), Field(default=values[name], description=field.description))
        for name, field in variant.method.settings.model_fields.items()
    }
    title = "".join(part.title() for part in variant.name.split("_"))
    return create_model(f"{title}Form", __base__=dg.Config, __doc__=variant.method.summary, **fields)


def settings_of(variant: Variant, form: dg.Config) -> Settings:
    """Return the settings that a filled-in form asks for.

    Raises:
        SettingsError: If they contradict one another; pydantic's ``ValidationError`` if one is out of range.
    """
    return variant.method.settings.model_validate(variant.settings.model_dump(mode="json") | form.model_dump())


def _shown(annotation: Any) -> Any:
    """Return the nearest type that Dagster's forms know; what they do not know is checked by the settings class alone."""
    annotation = _bare(annotation)
    if annotation in PLAIN:
        return annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal and all(isinstance(argument, str) for argument in arguments):
        return annotation
    if origin in {Union, UnionType} and type(None) in arguments and len(arguments) == 2:
        inner = _shown(next(argument for argument in arguments if argument is not type(None)))
        return inner | None if inner in PLAIN else Any
    if origin in {list, tuple} and arguments and _bare(arguments[0]) in PLAIN:
        return list[_bare(arguments[0])]
    return Any


def _bare(annotation: Any) -> Any:
    return _bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation
