"""The class behind `gag` in lm-evaluation-harness; imported only once that tool asks for the model (`harness`).

A request that is routed general (and every request with method=base) is computed from the harness's own prompt, as its
`hf` model does. On a domain route the harness's prompt takes the question's place in the domain's prompt, with the
expert's vectors in the slots. docs/evaluation.md says which text is routed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError
from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from gag.config import GenerationConfig
from gag.errors import DomainError, InputError
from gag.evaluation.continuations import Asked, continuation_scores, written_until
from gag.evaluation.harness_arguments import harness_arguments, opened
from gag.evaluation.routed_text import routed_text
from gag.models.base import Base
from gag.models.chat import EncodedPrompt
from gag.models.fingerprint import check_unchanged, weights_checksum
from gag.prompts import Message, Untrusted
from gag.records import GENERAL
from gag.system import GAG, Attached

_LOG = logging.getLogger(__name__)
_SAMPLING = {"do_sample", "temperature", "top_p", "top_k", "until", "max_gen_toks"}


@dataclass(frozen=True)
class _Pending:
    """A request on a domain route: its place, prompt text, and tokens to keep free after it."""

    index: int
    context: str
    room: int


class HarnessModel(TemplateLM):  # type: ignore[misc]  # the harness is untyped
    """GAG, or its base, as lm-evaluation-harness calls a model.

    `system` or `base` may be given already loaded; else the workspace of the arguments is opened. Raises ConfigError
    for an unknown argument, DomainError for a domain that is not there.
    """

    def __init__(self, *, base: Base | None = None, system: GAG | None = None, **arguments: Any) -> None:
        super().__init__()
        arguments.pop("max_batch_size", None)  # always given by the harness; of use only to its own automatic sizes
        self.arguments = harness_arguments(arguments)
        if base is None and system is None:
            base, system = opened(self.arguments)
        self.system = system if self.arguments.method == "gag" else None
        found = base or (system.base if system else None)
        assert found is not None
        self.base: Base = found
        self.tokenizer = self.base.tokenizer
        self._checksum = weights_checksum(self.base.model)
        self.routes: Counter[str] = Counter()
        self._chats: dict[str, list[dict[str, str]]] = {}
        self._check_route()

    @property
    def eot_token_id(self) -> int:
        """The id that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that begins with nothing."""
        bos = self.tokenizer.bos_token_id
        return int(bos) if bos is not None else self.eot_token_id

    @property
    def max_length(self) -> int:
        """Tokens of a prompt and its continuation together."""
        return min(self.base.context, self.arguments.max_length or self.base.context)

    @property
    def batch_size(self) -> int:
        """Prompts computed at once."""
        return self.arguments.batch_size

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer's name, for the harness's request cache."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        """What is written beside the results: which base, which method, and how often each route was taken.

        The harness asks for it at the end, so the base is proven unchanged here: RunError.
        """
        check_unchanged(self.base.model, self._checksum, "the base")
        return {
            "base": self.base.source,
            "base_fingerprint": self.base.fingerprint,
            "method": self.arguments.method,
            "domains": sorted(self.system.domains) if self.system else [],
            "routes": dict(self.routes),
        }

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids as the tokenizer gives them, without a second bos where the text begins with one."""
        if add_special_tokens is None and string.startswith(str(self.tokenizer.decode(self.prefix_token_id))):
            add_special_tokens = False
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer.encode(string, **options))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation in the base's template, thinking off; remembered, so that a slot can be put into it."""
        turns = chat_history
        try:
            text = self._templated(turns, add_generation_prompt)
        except TemplateError:
            turns = [turn for turn in chat_history if turn["role"] != "system"]
            text = self._templated(turns, add_generation_prompt)
        self._chats[text] = turns
        return text

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Sum of log p of each continuation after its context, and whether it is what greedy decoding writes."""
        pairs = [request.args for request in requests]
        routes = self._routed([context for context, _ in pairs])
        results: list[tuple[float, bool]] = [(0.0, False)] * len(pairs)
        plain = [i for i, route in enumerate(routes) if route == GENERAL]
        answered = super().loglikelihood([requests[i] for i in plain], disable_tqdm=True)
        for i, result in zip(plain, answered, strict=True):
            results[i] = result
        on_domains = [i for i, route in enumerate(routes) if route != GENERAL]
        endings = {i: self._ending(pairs[i][1]) for i in on_domains}
        pending = [_Pending(i, pairs[i][0], len(endings[i])) for i in on_domains]
        asked = self._asked(pending, routes)
        found = continuation_scores(self.base, asked, [endings[i] for i in on_domains], batch_size=self.batch_size)
        for i, result in zip(on_domains, found, strict=True):
            results[i] = result
            self.cache_hook.add_partial("loglikelihood", pairs[i], result)
        return results

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """The same of token ids, from the left as much as fits."""
        asked, continuations = [], []
        for _, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise InputError(
                    f"A continuation has {len(continuation)} tokens; the base holds {self.max_length}.",
                    "Choose a base with a longer context, or leave that task out.",
                )
            kept = (context + continuation)[-(self.max_length + 1) :]
            asked.append(Asked(EncodedPrompt(tuple(kept[: len(kept) - len(continuation)]))))
            continuations.append(continuation)
        results = continuation_scores(self.base, asked, continuations, batch_size=self.batch_size)
        for (texts, _, _), result in zip(requests, results, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, result)
        return results

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Sum of log p of whole texts, window by window; a text asks nothing, so it is the base's in either method."""
        totals = []
        for (text,) in (request.args for request in requests):
            windows = map(
                utils.make_disjoint_window,
                utils.get_rolling_token_windows(
                    token_list=self.tok_encode(text),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length,
                    context_len=1,
                ),
            )
            scores = self._loglikelihood_tokens([(None, before, after) for before, after in windows])
            totals.append(sum(score for score, _ in scores))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), totals[-1])
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What is written after each context, up to the first stop text of its task."""
        pairs = [request.args for request in requests]
        routes = self._routed([context for context, _ in pairs])
        texts = [""] * len(pairs)
        kinds: dict[str, list[int]] = {}
        for i, (_, options) in enumerate(pairs):
            kinds.setdefault(repr(sorted(options.items())), []).append(i)
        for members in kinds.values():
            generation, until = self._generation(pairs[members[0]][1])
            asked = self._asked([_Pending(i, pairs[i][0], generation.max_new_tokens) for i in members], routes)
            written = written_until(self.base, asked, generation, until, batch_size=self.batch_size)
            for i, text in zip(members, written, strict=True):
                texts[i] = text
                self.cache_hook.add_partial("generate_until", pairs[i], text)
        return texts

    def _generation(self, options: dict[str, Any]) -> tuple[GenerationConfig, list[str]]:
        """The harness's generation arguments as ours, and its stop texts with the end-of-text token's."""
        unknown = sorted(set(normalize_gen_kwargs(options)) - _SAMPLING)
        if unknown:
            raise InputError(
                f"The generation argument {unknown[0]!r} is not supported.", f"Known: {', '.join(sorted(_SAMPLING))}."
            )
        known = normalize_gen_kwargs(options, self.arguments.max_gen_toks)
        if known["max_gen_toks"] >= self.max_length:
            raise InputError(
                f"The task wants {known['max_gen_toks']} tokens written; the base holds {self.max_length} in all.",
                "Lower it: --gen_kwargs max_gen_toks=128.",
            )
        temperature = float(options.get("temperature", 1.0)) if known["do_sample"] else 0.0
        generation = GenerationConfig(
            max_new_tokens=known["max_gen_toks"],
            temperature=temperature,
            top_p=float(options.get("top_p", 1.0)),
            top_k=int(options.get("top_k", 0)),
        )
        eos = self.tokenizer.decode(self.eot_token_id)
        return generation, handle_stop_sequences(list(known["until"]), eos=eos)

    def _routed(self, contexts: Sequence[str]) -> list[str]:
        """The route of each context, equal ones routed once; counted, for the results."""
        if self.system is None:
            routes = dict.fromkeys(contexts, GENERAL)
        elif self.arguments.route is not None:
            routes = dict.fromkeys(contexts, self.arguments.route)
        else:
            distinct = list(dict.fromkeys(contexts))
            found = self.system.router.route([self._question(context) for context in distinct])
            routes = {context: route.name for context, route in zip(distinct, found, strict=True)}
        self.routes.update(routes[context] for context in contexts)
        return [routes[context] for context in contexts]

    def _question(self, context: str) -> str:
        chat = self._chats.get(context)
        last = (
            next((turn["content"] for turn in reversed(chat) if turn["role"] == "user"), context) if chat else context
        )
        return routed_text(last, self.arguments.separator)

    def _asked(self, pending: Sequence[_Pending], routes: Sequence[str]) -> list[Asked]:
        """Prompts, in order, with the expert's vectors where the route is a domain."""
        asked: dict[int, Asked] = {}
        for route in dict.fromkeys(routes[p.index] for p in pending):
            here = [i for i, p in enumerate(pending) if routes[p.index] == route]
            if route == GENERAL or self.system is None:
                for i in here:
                    ids = self.tok_encode(pending[i].context) or [self.prefix_token_id]
                    asked[i] = Asked(EncodedPrompt(tuple(ids[-(self.max_length - pending[i].room) :])))
            else:
                found = self._injected(self.system.domains[route], [pending[i] for i in here])
                asked.update(zip(here, found, strict=True))
        return [asked[i] for i in range(len(pending))]

    def _injected(self, attached: Attached, pending: Sequence[_Pending]) -> list[Asked]:
        """On one domain's route; each context is read once, and each prompt's vectors are refined once."""
        number = {context: i for i, context in enumerate(dict.fromkeys(p.context for p in pending))}
        readings = attached.read([self._question(context) for context in number])
        vectors = attached.vectors(readings)
        places = [(number[p.context], self._domain_prompt(p, attached)) for p in pending]
        distinct = list(dict.fromkeys(places))
        refined = attached.refined(
            self.base,
            [prompt for _, prompt in distinct],
            [readings[i] for i, _ in distinct],
            vectors[[i for i, _ in distinct]],
            attached.module.generation,
            batch_size=self.batch_size,
        )
        by_place = dict(zip(distinct, refined, strict=True))
        return [Asked(prompt, by_place[i, prompt]) for i, prompt in places]

    def _domain_prompt(self, pending: _Pending, attached: Attached) -> EncodedPrompt:
        """The harness's prompt in the question's place; without its examples where it would not fit."""
        slots = attached.module.readout.slots
        chat = self._chats.get(pending.context)
        if self._chats and chat is None:
            raise InputError(
                "A prompt is not one that this model put into the chat template.", "Run without --cache_requests."
            )
        turns = chat or [{"role": "user", "content": pending.context}]
        prefill = turns[-1]["content"] if turns[-1]["role"] == "assistant" else ""
        last = max(i for i, turn in enumerate(turns) if turn["role"] == "user")
        before = [Message(turn["role"], (Untrusted(turn["content"]),)) for turn in turns[:last]]
        prompt = self._encoded([*before, *attached.prompts.domain(turns[last]["content"], slots)], prefill)
        if len(prompt.ids) + pending.room <= self.max_length:
            return prompt
        _LOG.warning("A prompt of %d tokens is given without its examples.", len(prompt.ids))
        prompt = self._encoded(attached.prompts.domain(self._question(pending.context), slots), prefill)
        if len(prompt.ids) + pending.room > self.max_length:
            raise InputError(
                f"A question of {len(prompt.ids)} tokens and {pending.room} after it do not fit the base's "
                f"{self.max_length}.",
                "Choose a base with a longer context, or leave that task out.",
            )
        return prompt

    def _encoded(self, messages: Sequence[Message], prefill: str) -> EncodedPrompt:
        prompt = self.base.encode(messages)
        more = self.tok_encode(prefill, add_special_tokens=False) if prefill else []
        return EncodedPrompt((*prompt.ids, *more), prompt.slots)

    def _ending(self, continuation: str) -> list[int]:
        """A continuation as the assistant's answer begins: after a chat template's header no space comes first."""
        bare = continuation.lstrip() if self.tokenizer.chat_template is not None else continuation
        return self.tok_encode(bare or continuation, add_special_tokens=False)

    def _templated(self, turns: list[dict[str, str]], add_generation_prompt: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
                enable_thinking=False,
            )
        )

    def _check_route(self) -> None:
        route = self.arguments.route
        if route is None or route == GENERAL or self.system is None:
            return
        if route not in self.system.domains:
            have = ", ".join(sorted(self.system.domains)) or "none"
            raise DomainError(
                f"The route {route!r} is not attached (attached: {have}).", "Name one of them, or general."
            )
