"""Several games that are played as one, and the bridge between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample, at_least_float32
from ganlab.core.errors import ConfigError, require
from ganlab.core.players import Player
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.core.validation import NotNegative
from ganlab.game import Game


class Turns(dict[str, Turn]):
    """The turns of one player in several games that are played as one, by the names of the games."""

    @property
    def player(self) -> Player:
        return next(iter(self.values())).player

    def seen_by(self, player: Player) -> Turns:
        """The turns of another player with the same samples, codes and verdicts."""
        return Turns({name: turn.seen_by(player) for name, turn in self.items()})

    def detached(self) -> Turns:
        """The discriminators' turns on the same samples and codes, held constant."""
        return Turns({name: turn.detached() for name, turn in self.items()})


class Bridge:
    """What connects games that are played as one. This one connects nothing: each game is played as if alone.

    A bridge overrides some of the methods, and has no weights.
    """

    def check(self, parts: Mapping[str, Game]) -> None:
        """Raises `ConfigError` if these games cannot be connected."""

    def views(self, batch: Batch, names: Sequence[str]) -> dict[str, Batch]:
        """The batch that each game sees, by the names of the games."""
        return dict.fromkeys(names, batch)

    def joined(self, turns: Turns) -> Turns:
        """The turns, changed such that one game can use what another one generates."""
        return turns

    def terms(self, turns: Turns) -> dict[str, Tensor]:
        """Further loss terms of the player whose turn it is, scalars or [B, ...], by "part/term".

        The player minimises them with the weights of all games in which it moves.
        """
        return {}


class Games:
    """Several games with the same players that are played as one.

    Each has its own networks, objective, tricks and random streams. A player moves in all games at once. Each
    game keeps what it would be by itself: if the bridge adds nothing, its weights are those of a game that is
    played alone with the streams `random.within(name)`.

    Args:
        parts: the games by name. The first stands for all: its metrics have their usual names.
    """

    def __init__(self, parts: Mapping[str, Game], bridge: Bridge):
        self.parts, self.bridge = dict(parts), bridge
        self.players = main_part(self).players
        for name, part in self.parts.items():
            reason = f"has the players {', '.join(part.players)} instead of {', '.join(self.players)}"
            remedy = "choose objectives with the same players"
            require([*part.players] == [*self.players], reason, remedy, f"games.{name}")
        bridge.check(self.parts)

    def turn(self, player: Player, batch: Batch, random: RandomStreams, step: int = 0) -> Turns:
        """A player's turns in all games, see `Game.turn`."""
        views = self.bridge.views(batch, [*self.parts])
        turns = Turns()
        for name, part in self.parts.items():
            turns[name] = part.turn(player, views[name], random.within(name), step)
        return self.bridge.joined(turns)

    def losses(self, turns: Turns, moving: Collection[str] | None = None) -> dict[str, Tensor]:
        """The terms of all games in which the player moves, then those of the bridge; by "part/term".

        Args:
            moving: the names of the games in which the player moves; None: it moves in all.
        """
        terms: dict[str, Tensor] = {}
        for name in self.parts if moving is None else moving:
            terms |= {f"{name}/{term}": value for term, value in self.parts[name].losses(turns[name]).items()}
        further = self.bridge.terms(turns)
        return terms | {name: at_least_float32(value).mean() for name, value in further.items()}


# What a phase plays. Of both it knows `players`, `parts`, `turn` and `losses`, and of a turn `player`,
# `seen_by` and `detached`.
Playable = Game | Games


def main_part(game: Playable) -> Game:
    """The first part of a composite of games, which stands for all; of a game alone, the game itself."""
    return next(iter(game.parts.values()))


def find_part(parts: Mapping[str, Game], name: str | None) -> Game:
    """The part of a composite of games with a name, or the first; raises `ConfigError` if there is none."""
    remedy = f"choose from {', '.join(parts)}" if "" not in parts else "remove it"
    require(name is None or name in parts, "the run has no such part", remedy, "part", name)
    return next(iter(parts.values())) if name is None else parts[name]


def further_parts(game: Playable) -> nn.ModuleDict:
    """The other parts of a composite of games, by name; of a game alone, none."""
    return nn.ModuleDict({name: part for name, part in game.parts.items() if part is not main_part(game)})


class RunGames(nn.Module):
    """The games of a run, under the names that checkpoints have.

    `game` is the main game, or the first part of a composite; `beside.<part>` are its further parts. Those of
    the stages are `before.<stage>.game` and `before.<stage>.beside.<part>`.

    Args:
        playables: the games in the order in which they are played, by the names of the stages; the last one
            is the main game.
        initialisers: for some of them, a function that copies weights of earlier stages into the game. It is
            to be called before the game's first step.
    """

    def __init__(self, playables: dict[str, Playable], initialisers: Mapping[str, Callable[[], None]] = {}):
        super().__init__()
        self.playables, self.initialisers = playables, initialisers
        *stages, (_, main) = playables.items()
        self.game, self.beside = main_part(main), further_parts(main)
        self.before = nn.ModuleDict()
        for name, game in stages:
            self.before[name] = nn.ModuleDict({"game": main_part(game), "beside": further_parts(game)})

    @property
    def parts(self) -> Mapping[str, Game]:
        """The main game, or its parts by name if it is a composite of games; the first is `game`."""
        return [*self.playables.values()][-1].parts


class CycleConsistency(Bridge):
    """Two translations between two domains that undo each other (Zhu et al. 2017, equations 2 and 3).

    The first game translates conditions into samples, and the second one samples into conditions. With the
    translations F and G the generators minimise `cycle` times |G(F(a)) - a| + |F(G(b)) - b|, and `identity`
    times |F(b) - b| + |G(a) - a| (section 5.2), which are mean absolute differences. There must be two games,
    whose samples and conditions have one shape and do not belong to each other.
    """

    def __init__(self, cycle: NotNegative, identity: NotNegative):
        self.cycle, self.identity = cycle, identity

    def check(self, parts: Mapping[str, Game]) -> None:
        require(len(parts) == 2, "needs two games", "give two", "games", [*parts])
        shapes = {part.shape for part in parts.values()}
        for name, part in parts.items():
            spec = part.networks.condition
            if spec is None or spec.paired or {spec.shape} != shapes:
                reason = f"needs samples of two unpaired domains of one shape, but {name} has {spec}"
                raise ConfigError(reason, "choose data such as digits_and_negatives", "bridge")

    def views(self, batch: Batch, names: Sequence[str]) -> dict[str, Batch]:
        b, a = batch.real.x, batch.real.condition
        assert a is not None
        return dict(zip(names, (batch, Batch(Sample(a, b))), strict=True))

    def terms(self, turns: Turns) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        if turns.player == "generator":
            (ab, there), (ba, back) = turns.items()
            for name, first, second in ((ab, there, back), (ba, back, there)):
                if self.cycle:
                    returned = second.replace(asked=first.generated.x).generated.x
                    terms[f"{name}/cycle"] = self.cycle * (returned - second.batch.real.x).abs()
                if self.identity:
                    kept = first.replace(asked=first.batch.real.x).generated.x
                    terms[f"{name}/identity"] = self.identity * (kept - first.batch.real.x).abs()
        return terms
