"""The generator and the discriminator, and functions that build, find and replace their layers.

A condition is what `ConditionSpec` describes: the class of each sample, int64 [B], or an image or a vector
of each sample. It is None in a game without conditions.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import count
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ganlab.core.batch import ConditionSpec, Verdict
from ganlab.core.errors import require
from ganlab.core.validation import ValueRange
from ganlab.networks.priors import Prior

WEIGHT_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
Network = TypeVar("Network", bound=nn.Module)
LayerFactory = Callable[[int, int], nn.Module]  # builds a layer from its numbers of inputs and outputs


class Conditioned(nn.Module):
    """Base class of layers that receive the condition, (x, condition) -> output. Others receive only x."""


class Branching(nn.Module, ABC):
    """Base class of modules that say which of their modules receive their input, such as residual blocks."""

    @abstractmethod
    def branches(self) -> Sequence[nn.Module]:
        """The modules that receive the input, the main one first, without those that follow them."""


class InputTransform(nn.Module):
    """Base class of layers that change the inputs of a whole network, (x, condition) -> (x, condition)."""


class AppendCondition(InputTransform):
    """Appends the condition to the channels of images, or to the elements of vectors."""

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x, condition.to(x.dtype)], 1), condition


class InputTransforms(nn.ModuleList):
    """Input transforms that are applied one after another; a trick appends its own."""

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        for transform in self:
            x, condition = transform(x, condition)
        return x, condition


class ConditionalSequential(nn.Sequential, Conditioned):
    """A sequence of layers that passes the condition to those that are `Conditioned`."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, condition) if isinstance(layer, Conditioned) else layer(x)
        return x


class Generator(nn.Module):
    """The generator: latents [B, latent_dim] and a condition -> samples [B, *shape].

    Tricks change the generator before training: they append to `latent_transforms`, replace layers of
    `body`, and set `condition`.
    """

    def __init__(self, body: ConditionalSequential, latent_dim: int, shape: tuple[int, ...], prior: Prior):
        super().__init__()
        self.latent_transforms = InputTransforms()  # before `body`
        self.body: nn.Module = body
        self.latent_dim, self.shape, self.prior = latent_dim, shape, prior
        self.condition: ConditionSpec | None = None  # what the generator is told; None: nothing
        self.class_counts: list[int] | None = None  # the number of training samples in each class, if known

    @property
    def num_classes(self) -> int | None:
        """The number of classes of the condition; None if there is no condition, or it is no class."""
        return None if self.condition is None else self.condition.num_classes

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.body(*self.latent_transforms(latent, condition))


class Encoder(nn.Module):
    """The encoder: samples [B, *shape] and a condition -> [B, num_outputs].

    The outputs are latents, or normal distributions of latents: the means, followed by the log-variances.
    """

    def __init__(self, body: ConditionalSequential, num_outputs: int):
        super().__init__()
        self.input_transforms = InputTransforms()  # before `body`
        self.body: nn.Module = body
        self.num_outputs = num_outputs

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.body(*self.input_transforms(x, condition))


class Discriminator(nn.Module):
    """The discriminator: samples [B, *shape], a condition and, in some games, codes -> verdict.

    A joint discriminator judges a sample together with its code, [B, code_dim], which it appends to the
    flattened sample.

    A logit is the output of the layer `score`, plus the outputs of all layers in `further_scores`, which is
    empty at first. Tricks change the network before training: they append to `input_transforms` or to
    `further_scores`, replace `score`, or set `class_head` or `decoder`.

    Args:
        body: the layers that map samples and condition to features [B, num_features].
        make_head: a function that builds each layer that maps features to outputs, such as the score.
    """

    def __init__(self, body: ConditionalSequential, num_features: int, make_head: LayerFactory = nn.Linear):
        super().__init__()
        self.input_transforms = InputTransforms()  # before `body`
        self.body: nn.Module = body
        self.num_features = num_features
        self.make_head = partial(make_head, num_features)  # number of outputs -> a layer on the features
        self.score: nn.Module = self.make_head(1)  # a layer, features -> [B, 1]
        self.further_scores = nn.ModuleList()  # a list of further layers, (features, condition) -> [B] each
        self.class_head: nn.Module | None = None  # a layer, features -> class logits [B, K]
        self.decoder: nn.Module | None = None  # a network, features -> samples; verdicts do not depend on it
        self.condition: ConditionSpec | None = None  # what the network was built for, if anything
        self.code_dim = 0  # the number of elements of the code that is judged with a sample; 0: none is
        self.judges_patches = False  # whether the features are maps [B, num_features, h, w]
        self.has_features = True  # whether the features say more of a sample than its logit

    @property
    def has_features_of_samples(self) -> bool:
        """Whether there are features of whole samples, and not only of patches."""
        return self.has_features and not self.judges_patches

    def forward(self, x: Tensor, condition: Tensor | None = None, code: Tensor | None = None) -> Verdict:
        if code is not None:
            x = torch.cat([x.flatten(1), code.to(x.dtype)], 1)  # [B, D + code_dim]
        x, condition = self.input_transforms(x, condition)
        features = self.body(x, condition)  # [B, num_features]
        further_logits = (layer(features, condition) for layer in self.further_scores)  # [B] each
        logits = sum(further_logits, start=self.score(features).squeeze(1))  # [B], or [B, h, w]
        if self.judges_patches:
            return Verdict(logits, features.flatten(2).mean(2))
        return Verdict(logits, features, None if self.class_head is None else self.class_head(features))


def output_layer(value_range: ValueRange, key: str = "data.range") -> nn.Module:
    """The last layer of a network: tanh for [-1, 1], sigmoid for [0, 1], or the identity for no range."""
    layers: dict[Any, type[nn.Module]] = {None: nn.Identity, (-1, 1): nn.Tanh, (0, 1): nn.Sigmoid}
    limits = None if value_range is None else tuple(value_range)  # in a config, the range is a list
    require(limits in layers, "must be [-1,1] or [0,1]", key=key, value=value_range)
    return layers[limits]()


def relu(slope: float) -> nn.Module:
    """Leaky ReLU with a slope for negative inputs; ReLU if the slope is 0."""
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def replace_modules(
    root: nn.Module, classes: type[nn.Module] | tuple[type[nn.Module], ...], make: Callable[..., nn.Module]
) -> int:
    """Replaces every module of the given classes below `root` by `make(module)`; returns their number."""
    children = [(parent, name, child) for parent in root.modules() for name, child in parent.named_children()]
    replaced = [(parent, name, child) for parent, name, child in children if isinstance(child, classes)]
    for parent, name, child in replaced:
        setattr(parent, name, make(child))
    return len(replaced)


def insert_between_layers(body: nn.Module, make: Callable[[int], nn.Module]) -> int:
    """Inserts make(0), make(1) and so on before all layers with weights but the input layers.

    Returns the number of inserted layers.
    """
    first, indices = input_layers(body), count()

    def prepend(layer: nn.Module) -> nn.Module:
        return layer if layer in first else nn.Sequential(make(next(indices)), layer)

    num_layers = replace_modules(body, WEIGHT_LAYERS, prepend)
    return num_layers - sum(isinstance(layer, WEIGHT_LAYERS) for layer in first)


def input_layers(root: nn.Module) -> list[nn.Module]:
    """The layers with weights that receive the input of a network: one, or one for each of its branches.

    A branch without weights, such as a shortcut that is the identity, stands for itself. The list is empty if
    the network has no weights. Raises `ConfigError` if a module does not say which of its layers come first.
    """
    if isinstance(root, WEIGHT_LAYERS):
        return [root]
    if isinstance(root, Branching):
        return [layer for branch in root.branches() for layer in input_layers(branch) or [branch]]
    has_weights = any(isinstance(layer, WEIGHT_LAYERS) for layer in root.modules())
    reason = f"needs the first layers of the network, but {type(root).__name__} does not say which they are"
    remedy = "make it an nn.Sequential, or a ganlab.networks.base.Branching with the method branches"
    require(isinstance(root, nn.Sequential) or not has_weights, reason, remedy)
    return next(filter(None, map(input_layers, root.children())), [])


def last_layer(root: nn.Module) -> nn.Module:
    """The last layer with weights, on the first of the branches; raises `ConfigError` if there is none."""
    if isinstance(root, Branching):
        return last_layer(root.branches()[0])
    if isinstance(root, nn.Sequential):
        children = [child for child in root if input_layers(child)]
        require(children, "needs a network with a hidden layer", "add one, or choose another network")
        return last_layer(children[-1])
    return root


def add_network_inputs(body: nn.Module, num_inputs: int) -> None:
    """Adds inputs to all layers that receive the input of a network, in place.

    Raises `ConfigError` unless all are linear or convolutional, which a shortcut, the identity, is not.
    """
    layers = input_layers(body)
    widened = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]
    reason = "the network must begin with linear or convolutional layers, which take further inputs"
    require(layers and widened == layers, reason, "choose another network")
    for layer in widened:
        add_inputs(layer, num_inputs)


def add_inputs(layer: nn.Linear | nn.Conv2d, num_inputs: int) -> None:
    """Adds inputs to a layer, in place.

    The added weights are normal with mean 0 and the standard deviation of the weights that the layer has.
    """
    weight = layer.weight.detach()  # [outputs, inputs], or [outputs, inputs, height, width]
    added = weight.new_empty(len(weight), num_inputs, *weight.shape[2:]).normal_(0, float(weight.std()))
    layer.weight = nn.Parameter(torch.cat([weight, added], 1))
    if isinstance(layer, nn.Linear):
        layer.in_features += num_inputs
    else:
        layer.in_channels += num_inputs


@contextmanager
def evaluating(network: Network) -> Iterator[Network]:
    """Sets a network to evaluation mode for the duration of a block, and restores its mode afterwards."""
    is_training = network.training
    if is_training:  # otherwise there is nothing to do, and this takes longer than a pass of a small network
        network.eval()
    try:
        yield network
    finally:
        if is_training:
            network.train()


def uncompiled() -> AbstractContextManager[object]:
    """A context in which compiled networks run as they are written.

    `torch.compiler.set_stance` does this, but imports torch's compiler, which takes a second.
    """
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
