"""The table of OpenAI routes, and the two tokenizer routes that go with them."""

from __future__ import annotations

from starlette.routing import Route

from quire.api.server.openai.chat import CHAT_NAMES, chat_batch, chat_completions
from quire.api.server.openai.completions import completions
from quire.api.server.openai.generative_scoring import (
    SCORING_FIELDS,
    ScoringReply,
    ScoringRequest,
    generative_scoring,
)
from quire.api.server.openai.models import ModelEntry, ModelList, list_models, show_model
from quire.api.server.openai.protocol_chat import (
    CHAT_BATCH_FIELDS,
    CHAT_FIELDS,
    ChatBatchRequest,
    ChatChunk,
    ChatMessage,
    ChatReply,
    ChatRequest,
    Tool,
)
from quire.api.server.openai.protocol_completions import (
    COMPLETION_FIELDS,
    CompletionReply,
    CompletionRequest,
)
from quire.api.server.openai.scale_out import (
    GENERATE_FIELDS,
    GenerateReply,
    GenerateRequest,
    abort_tokens,
    generate_tokens,
    refuse_derender,
    render_chat,
    render_completions,
)
from quire.api.server.openai.tokenize import (
    DETOKENIZE_FIELDS,
    TOKENIZE_FIELDS,
    DetokenizeReply,
    DetokenizeRequest,
    TokenizeReply,
    TokenizeRequest,
    detokenize,
    tokenize,
    tokenizer_info,
)
from quire.api.server.routing import Handler, Spec, service_route
from quire.api.server.service import Service

_GENERATION, _MODELS, _TOKENS = "Generation", "Models", "Tokens"
_DERENDER = Spec(summary="Refused: /detokenize makes text of tokens", tag="Refused", status=501)
_INFO = Spec(summary="What the tokenizer is made of", tag=_TOKENS)

_WITHOUT_TEXT = ("/v1/models", "/inference/")  # what --tokens-only serves
_ROUTES: tuple[tuple[str, str, Handler, Spec], ...] = (
    (
        "POST",
        "/v1/chat/completions",
        chat_completions,
        Spec(
            summary="Answer a conversation",
            tag=_GENERATION,
            request=ChatRequest,
            fields=CHAT_FIELDS,
            inner={"messages": list[ChatMessage], "tools": list[Tool]},
            reply=ChatReply,
            event=ChatChunk,
            sampling=CHAT_NAMES,
        ),
    ),
    (
        "POST",
        "/v1/chat/completions/batch",
        chat_batch,
        Spec(
            summary="Answer many conversations",
            tag=_GENERATION,
            request=ChatBatchRequest,
            fields=CHAT_BATCH_FIELDS,
            inner={"messages": list[list[ChatMessage]], "tools": list[Tool]},
            reply=ChatReply,
            sampling=CHAT_NAMES,
        ),
    ),
    (
        "POST",
        "/v1/completions",
        completions,
        Spec(
            summary="Continue a text",
            tag=_GENERATION,
            request=CompletionRequest,
            fields=COMPLETION_FIELDS,
            reply=CompletionReply,
            event=CompletionReply,
            sampling={},
        ),
    ),
    (
        "GET",
        "/v1/models",
        list_models,
        Spec(summary="List the names this server answers to", tag=_MODELS, reply=ModelList),
    ),
    (
        "GET",
        "/v1/models/{model:path}",
        show_model,
        Spec(summary="Show one of these names", tag=_MODELS, reply=ModelEntry),
    ),
    (
        "POST",
        "/tokenize",
        tokenize,
        Spec(
            summary="Token ids of a text or a conversation",
            tag=_TOKENS,
            request=TokenizeRequest,
            fields=TOKENIZE_FIELDS,
            inner={"messages": list[ChatMessage], "tools": list[Tool]},
            reply=TokenizeReply,
        ),
    ),
    (
        "POST",
        "/detokenize",
        detokenize,
        Spec(
            summary="The text of token ids",
            tag=_TOKENS,
            request=DetokenizeRequest,
            fields=DETOKENIZE_FIELDS,
            reply=DetokenizeReply,
        ),
    ),
    (
        "POST",
        "/generative_scoring",
        generative_scoring,
        Spec(
            summary="How likely each label is to follow a text",
            tag=_GENERATION,
            request=ScoringRequest,
            fields=SCORING_FIELDS,
            reply=ScoringReply,
        ),
    ),
    (
        "POST",
        "/inference/v1/generate",
        generate_tokens,
        Spec(
            summary="Continue tokens (--enable-scale-out)",
            tag=_TOKENS,
            request=GenerateRequest,
            fields=GENERATE_FIELDS,
            reply=GenerateReply,
            event=GenerateReply,
        ),
    ),
    (
        "POST",
        "/inference/v1/abort_requests",
        abort_tokens,
        Spec(summary="Give requests up (--enable-scale-out)", tag=_TOKENS),
    ),
    (
        "POST",
        "/v1/chat/completions/render",
        render_chat,
        Spec(summary="The tokens of a conversation (--enable-scale-out)", tag=_TOKENS, reply=GenerateRequest),
    ),
    (
        "POST",
        "/v1/completions/render",
        render_completions,
        Spec(summary="The tokens of texts (--enable-scale-out)", tag=_TOKENS, reply=list[GenerateRequest]),
    ),
    ("POST", "/v1/chat/completions/derender", refuse_derender, _DERENDER),
    ("POST", "/v1/completions/derender", refuse_derender, _DERENDER),
)


def openai_routes(service: Service) -> list[Route]:
    if service.config.tokens_only:
        return [service_route(service, *row) for row in _ROUTES if row[1].startswith(_WITHOUT_TEXT)]
    routes = [service_route(service, *row) for row in _ROUTES]
    if service.config.enable_tokenizer_info_endpoint:
        routes.append(service_route(service, "GET", "/tokenizer_info", tokenizer_info, _INFO))
    return routes
