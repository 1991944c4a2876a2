"""The two kinds of run, of the exercise's network and of models that read whole words: what each one's files hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from backproof.training.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from backproof.training.word_settings import WordSettings

    AnySettings = Settings | WordSettings

_MODEL = "model"  # the exercise's settings, which are older, do not say which model they are of


def settings_from(said: Any) -> AnySettings:
    """The settings that `asdict` made `said` of; raises ValueError, TypeError or SettingsError for anything else.

    What is missing is no default: with a default in its place it would be another run.
    """
    if not isinstance(said, dict):
        raise TypeError
    if _MODEL not in said:
        settings: AnySettings = Settings(**said)
    else:
        from backproof.models.protocol import OptionsError  # here, with PyTorch
        from backproof.models.registry import NAMES, options_of
        from backproof.optimisers.options import OptimiserError
        from backproof.training.word_settings import WordSettings

        if said[_MODEL] not in NAMES:
            raise ValueError
        try:
            settings = WordSettings(**{**said, "options": options_of(said[_MODEL])(**said["options"])})
        except (OptimiserError, OptionsError) as error:
            raise ValueError from error
    if said != asdict(settings):
        raise ValueError
    return settings


def flat(settings: AnySettings) -> dict[str, Any]:
    """Every setting by the name of its option."""
    said = asdict(settings)
    if _MODEL not in said:
        return said
    model, sizes = said.pop(_MODEL), said.pop("options")
    return {_MODEL: model, **said, **sizes}


def usual(settings: AnySettings) -> AnySettings:
    """What the settings of such a run are where nothing is said but which model it is."""
    return Settings() if isinstance(settings, Settings) else type(settings)(model=settings.model)


def may_change(settings: AnySettings) -> tuple[str, ...]:
    """What a run that goes on may be asked to do otherwise than it began, without being another run."""
    if isinstance(settings, Settings) or settings.schedule == "drop":
        return ("steps", "lr_drop_at")
    return ("steps",) if settings.schedule == "constant" else ()  # a cosine's rates depend on where it ends


def template(settings: AnySettings, symbols: int) -> dict[str, Tensor]:
    """What a state of such a run holds at the least, by name: tensors without numbers, of its shapes and dtypes."""
    import torch

    if isinstance(settings, Settings):
        from backproof.models.mlp import Parameters, Shape
        from backproof.training.model import tensor_shapes

        s = settings
        shapes = tensor_shapes(Shape(symbols, s.block_size, s.embedding, s.hidden, s.correction))
        return {name: torch.empty(shapes[name], device="meta") for name in Parameters._fields}
    from backproof.engines.page import begun
    from backproof.models.registry import page

    with torch.device("meta"):
        parameters = page(settings.model).initial(settings.options, symbols, torch.Generator("cpu"))
        return begun(parameters, settings.make_steps())


def is_state(tensors: Mapping[str, Tensor], settings: AnySettings, symbols: int) -> bool:
    """Whether these are the tensors of a state of such a run, and all of them finite."""
    wanted, others = template(settings, symbols), set()
    if not isinstance(settings, Settings):
        from backproof.training.watch import belong

        others = tensors.keys() - wanted.keys()
        if not belong({name: tensors[name] for name in others}, wanted):
            return False
    return tensors.keys() - others == wanted.keys() and all(
        tensors[name].shape == one.shape and tensors[name].dtype == one.dtype and bool(tensors[name].isfinite().all())
        for name, one in wanted.items()
    )
