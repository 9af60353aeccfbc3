"""The projector Pi_i: knowledge states -> one vector a slot in the base's embedding space (paper, projector).

Parameters are float32. Every kind starts near one learned vector a slot and adds a small network output to it, and
mixes several layers by a learned softmax for each slot. Legend: B batch, T background tokens, K slots, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gag.config import ProjectorConfig


@dataclass(frozen=True)
class ProjectorShape:
    """The sizes a projector is built for."""

    d_expert: int
    d_base: int
    slots: int
    layers: int

    def to_json(self) -> dict[str, int]:
        """For module.json."""
        return asdict(self)


class Projector(nn.Module):
    """States [B, K, L, d_expert] (attention: [B, T, L, d_expert] and a mask [B, T]) -> vectors [B, K, d_base]."""

    state_mean: Tensor
    state_deviation: Tensor

    def __init__(self, config: ProjectorConfig, shape: ProjectorShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        d_expert, hidden = shape.d_expert, config.hidden or shape.d_base
        self.register_buffer("state_mean", torch.zeros(shape.layers, d_expert))
        self.register_buffer("state_deviation", torch.ones(shape.layers, d_expert))
        self.layer_mix = nn.Parameter(torch.zeros(shape.slots, shape.layers))
        self.pool = AttentionPool(d_expert, shape.slots, config.heads) if config.kind == "attention" else None
        self.network: nn.Module
        if config.kind == "gated_residual":
            self.network = GatedResidual(d_expert, hidden, shape.d_base, config.dropout)
        else:
            self.network = nn.Sequential(
                nn.Linear(d_expert, hidden), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(hidden, shape.d_base)
            )
        self.slot_vectors = nn.Parameter(torch.zeros(shape.slots, shape.d_base))

    @torch.no_grad()
    def initialise(
        self,
        states: Sequence[Float[Tensor, "t l d"]],
        embedding: Float[Tensor, "vocabulary d_base"],
        targets: Float[Tensor, "n k d_base"] | None = None,
    ) -> None:
        """Set the input statistics from training `states` and the output's scale from the base's `embedding`.

        The learned vectors start in random directions, as long as an embedding typically is; the network's output
        starts at `output_scale` of that length. With `targets` (warm start: what each slot should be near to, see
        `segment_embeddings`), a ridge regression from the states to them takes the place of both.
        """
        flat = torch.cat([s.float() for s in states])
        if self.config.normalize_input == "standardize":
            self.state_mean.copy_(flat.mean(0))
            self.state_deviation.copy_(flat.std(0).clamp_min(1e-6) if len(flat) > 1 else torch.ones_like(flat[0]))
        if targets is not None and isinstance(self.network, GatedResidual):
            pooled = self._pooled(torch.stack([s.float() for s in states]), None)
            self.network.fit(pooled.flatten(0, 1), targets.float().flatten(0, 1), self.config.ridge)
            self.slot_vectors.zero_()
            return
        norm = embedding.float().norm(dim=-1).median().cpu()
        noise = torch.randn_like(self.slot_vectors)
        self.slot_vectors.zero_()
        sample, mask = stacked_states(list(states[:256]), torch.device("cpu"))
        typical = self.eval()(sample, mask).norm(dim=-1).mean().clamp_min(1e-8)
        self.slot_vectors.copy_(noise / noise.norm(dim=-1, keepdim=True) * norm)
        scale = self.config.output_scale * norm / typical
        for layer in self.network.last if isinstance(self.network, GatedResidual) else (self._last_linear(),):
            for parameter in layer.parameters():
                parameter.mul_(scale)

    def _last_linear(self) -> nn.Module:
        network = self.network
        assert isinstance(network, nn.Sequential)
        return network[-1]

    def _pooled(self, states: Float[Tensor, "b t l d"], mask: Bool[Tensor, "b t"] | None) -> Float[Tensor, "b k d"]:
        """States normalised and brought to one vector a slot: layers mixed, an unpooled background attended over."""
        if self.config.normalize_input == "standardize":
            states = (states - self.state_mean) / self.state_deviation
        elif self.config.normalize_input == "layer_norm":
            states = nn.functional.layer_norm(states, states.shape[-1:])
        mix = self.layer_mix.softmax(-1)
        if self.pool is None:
            return torch.einsum("bkld,kl->bkd", states, mix)
        if mask is None:
            raise ValueError("the attention projector needs the mask of real states")
        pooled: Tensor = self.pool(states, mask, mix)
        return pooled

    def forward(
        self, states: Float[Tensor, "b t l d"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b k d_base"]:
        """One vector a slot; `mask` says which background states are real, for the attention kind."""
        out: Tensor = self.network(self._pooled(states.float(), mask)) + self.slot_vectors
        return out


class GatedResidual(nn.Module):
    """LayerNorm and Linear to the base's width, plus an MLP update let through by a learned gate."""

    def __init__(self, d_expert: int, hidden: int, d_base: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_expert)
        self.enter = nn.Linear(d_expert, d_base)
        self.update = nn.Sequential(
            nn.Linear(d_expert, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, d_base)
        )
        self.gate = nn.Linear(d_expert, d_base)

    @property
    def last(self) -> tuple[nn.Module, ...]:
        """The layers whose size is the output's size."""
        return (self.enter, self.update[-1])

    def fit(self, inputs: Float[Tensor, "n d"], targets: Float[Tensor, "n d_base"], ridge: float) -> None:
        """Set the linear part to the ridge regression from `inputs` to `targets`; the update starts at nothing."""
        x = self.norm(inputs).double()
        mean, middle = x.mean(0), targets.double().mean(0)
        centred = x - mean
        gram = centred.T @ centred
        gram.diagonal().add_(ridge * gram.diagonal().mean())
        weight = torch.linalg.solve(gram, centred.T @ (targets.double() - middle))
        self.enter.weight.copy_(weight.T)
        self.enter.bias.copy_(middle - mean @ weight)
        for parameter in self.update[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, pooled: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d_base"]:
        """[B, K, d_expert] -> [B, K, d_base]."""
        x = self.norm(pooled)
        out: Tensor = self.enter(x) + torch.sigmoid(self.gate(x)) * self.update(x)
        return out


class AttentionPool(nn.Module):
    """K learned queries attend over the background's states, after each slot's own layer mix."""

    def __init__(self, d_expert: int, slots: int, heads: int) -> None:
        super().__init__()
        self.heads = math.gcd(heads, d_expert)
        self.queries = nn.Parameter(torch.randn(slots, d_expert) / math.sqrt(d_expert))
        self.key = nn.Linear(d_expert, d_expert, bias=False)
        self.value = nn.Linear(d_expert, d_expert, bias=False)

    def forward(
        self, states: Float[Tensor, "b t l d"], mask: Bool[Tensor, "b t"], mix: Float[Tensor, "k l"]
    ) -> Float[Tensor, "b k d"]:
        """[B, T, L, d] -> [B, K, d]; masked states get no weight."""
        b, t, layers, d = states.shape
        k, h = self.queries.shape[0], self.heads
        # [B, 1 or K, T, d]: with one layer there is nothing to mix and every slot sees the same
        mixed = states.squeeze(2).unsqueeze(1) if layers == 1 else torch.einsum("btld,kl->bktd", states, mix)
        keys = self.key(mixed).view(b, -1, t, h, d // h)
        values = self.value(mixed).view(b, -1, t, h, d // h)
        scores = torch.einsum("khc,bkthc->bkht", self.queries.view(k, h, d // h), keys.expand(-1, k, -1, -1, -1))
        scores = (scores / math.sqrt(d // h)).masked_fill(~mask[:, None, None, :], float("-inf"))
        weights = scores.softmax(-1)
        return torch.einsum("bkht,bkthc->bkhc", weights, values.expand(-1, k, -1, -1, -1)).reshape(b, k, d)


class ConstantToken(nn.Module):
    """Vectors [slots, d_base] that do not look at the states; starts as a projector's learned vectors do."""

    def __init__(self, slots: int, embedding: Tensor) -> None:
        super().__init__()
        noise = torch.randn(slots, embedding.shape[1])
        norm = embedding.float().norm(dim=-1).median().cpu()
        self.slot_vectors = nn.Parameter(noise / noise.norm(dim=-1, keepdim=True) * norm)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """The same vectors [batch, slots, d_base] for every question."""
        return self.slot_vectors.unsqueeze(0).expand(len(states), -1, -1)


def projector_from_tensors(config: ProjectorConfig, shape: ProjectorShape, tensors: Mapping[str, Tensor]) -> Projector:
    """A trained projector, in eval mode, from its config, sizes and state dict; raises RuntimeError on a misfit."""
    projector = Projector(config, shape)
    projector.load_state_dict(dict(tensors))
    return projector.eval().requires_grad_(False)


def stacked_states(states: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """States [tokens, layers, d] of different lengths as [B, longest, layers, d] float32 and their mask."""
    longest = max(len(s) for s in states)
    out = torch.zeros(len(states), longest, *states[0].shape[1:], device=device)
    mask = torch.zeros(len(states), longest, dtype=torch.bool, device=device)
    for i, s in enumerate(states):
        out[i, : len(s)] = s.to(device=device, dtype=torch.float32)
        mask[i, : len(s)] = True
    return out, mask
