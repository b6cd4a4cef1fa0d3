"""A request's body and headers, read once, into `RequestFacts`. Pure.

The class of work is declared by key, header or model; where nobody declares it, the workload's own class holds. A
workload that is not named at all is inferred from what the request looks like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.router.config import RouterConfig
from headrace.router.decide import release_of
from headrace.router.prompt import read_prompt
from headrace.router.types import Refusal, RequestFacts
from headrace.settings.releases import WorkloadClass

# Endpoints of the OpenAI API that carry work.
ENDPOINTS: Final[Mapping[str, str]] = {
    "/v1/chat/completions": "chat.completions",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
}
HEADER_CLASS: Final = "x-headrace-class"
HEADER_FEATURE: Final = "x-headrace-feature"
HEADER_CONVERSATION: Final = "x-headrace-conversation"
HEADER_RESIDENCY: Final = "x-headrace-residency"
_LONG_PROMPT: Final = 8192
_LONGEST_LABEL: Final = 64
_MOST_TOKENS: Final = 1 << 24
_BUCKETS: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Whom a key belongs to. `workloads` None means all; `workload_class` is the key's own declaration."""

    key_id: str
    tenant: str
    project: str
    environment: str
    workloads: frozenset[str] | None = None
    workload_class: WorkloadClass | None = None
    feature: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """What a request is: the facts for the decision, and what the interpreter needs of the body."""

    facts: RequestFacts
    conversation: str
    prompt_digest_input: bytes


def classify(
    *,
    request_id: str,
    endpoint: str,
    headers: Mapping[str, str],
    body: Any,
    caller: Caller,
    policy: RouterConfig,
    residencies: Mapping[str, frozenset[str]],
) -> Parsed | Refusal:
    """Facts of a request, or the refusal of a malformed one. `headers` have lower-case names.

    `residencies` maps each known residency to the jurisdictions that it allows.
    """
    if not isinstance(body, dict):
        return _bad("the body must be a JSON object", 'send an object such as {"model": …, "messages": […]}')
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        return _bad("model must be text", "name a workload; GET /v1/models lists them")
    problem = _shape(endpoint, body)
    if problem is not None:
        return problem
    max_tokens = _max_tokens(endpoint, body)
    if isinstance(max_tokens, Refusal):
        return max_tokens
    prompt = read_prompt(endpoint, body)
    estimate = prompt.tokens
    choices = max(int(body.get("n") or 1), int(body.get("best_of") or 1))
    sequences = prompt.texts * (1 if endpoint == "embeddings" else choices)
    if max_tokens is not None:
        max_tokens *= sequences
    declared = _declared_class(headers, caller)
    if isinstance(declared, Refusal):
        return declared
    residency = _residency(headers, residencies)
    if isinstance(residency, Refusal):
        return residency
    stream = body.get("stream") is True and endpoint != "embeddings"  # which come whole, whatever is asked
    found = _workload(model, declared, estimate, max_tokens, stream, endpoint, caller, policy)
    if isinstance(found, Refusal):
        return found
    conversation = _conversation(headers, endpoint, body, caller, prompt.digest_input)
    bucket = bucket_of(conversation)
    workload = policy.workloads[found]
    # A model that names a release of the workload asks for just that one; else shares decide.
    release = model if model in workload.canary or model == workload.release else release_of(workload, bucket)
    facts = RequestFacts(
        id=request_id,
        tenant=caller.tenant,
        project=caller.project,
        environment=caller.environment,
        workload=found,
        workload_class=declared or workload.workload_class,
        release=release or workload.release,
        feature=_label(headers.get(HEADER_FEATURE)) or caller.feature,
        prompt_tokens=estimate,
        prompt_tokens_bound=prompt.bound,
        max_tokens=max_tokens,
        sequences=sequences,
        longest_prompt_tokens=prompt.longest,
        stream=stream,
        endpoint=endpoint,
        residency=residency,
        bucket=bucket,
    )
    return Parsed(facts=facts, conversation=conversation, prompt_digest_input=prompt.digest_input)


def bucket_of(conversation: str) -> float:
    """A conversation's fixed place in [0, 100): every replica and every restart gives the same."""
    digest = hashlib.blake2b(conversation.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % _BUCKETS / (_BUCKETS / 100)


def _bad(sentence: str, next_step: str, *, status: int = 400, code: str = "invalid_request") -> Refusal:
    return Refusal(status=status, code=code, sentence=sentence, next_step=next_step)


def _shape(endpoint: str, body: dict[str, Any]) -> Refusal | None:
    if endpoint == "chat.completions":
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            return _bad("messages must be a list of one or more objects", "send the conversation in messages")
    elif endpoint == "completions":
        if not isinstance(body.get("prompt"), str | list):
            return _bad("prompt must be text or a list", "send the text in prompt")
    elif not isinstance(body.get("input"), str | list):
        return _bad("input must be text or a list", "send the text in input")
    if "stream" in body and not isinstance(body["stream"], bool | None):
        return _bad("stream must be true or false", "correct it")
    for name in ("n", "best_of"):
        count = body.get(name)
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 128):
            return _bad(f"{name} must be a whole number from 1 to 128", "correct it")
    return None


def _max_tokens(endpoint: str, body: dict[str, Any]) -> int | Refusal | None:
    """Declared length of one answer; an embedding has none."""
    if endpoint == "embeddings":
        return 0
    values = [body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
            return _bad("max_tokens must be a whole number, 0 or more", "correct it")
    return max(values) if values else None


def _declared_class(headers: Mapping[str, str], caller: Caller) -> WorkloadClass | Refusal | None:
    text = headers.get(HEADER_CLASS)
    if text is None:
        return caller.workload_class
    try:
        return WorkloadClass(text)
    except ValueError:
        known = ", ".join(member.value for member in WorkloadClass)
        return _bad(f"the header {HEADER_CLASS} must be one of {known}", "correct or drop it")


def _residency(
    headers: Mapping[str, str], residencies: Mapping[str, frozenset[str]]
) -> frozenset[str] | Refusal | None:
    """Jurisdictions that the caller narrows its request to. It can only narrow: the workload's own still hold."""
    text = headers.get(HEADER_RESIDENCY)
    if text is None:
        return None
    allowed: frozenset[str] = frozenset()
    for name in (part.strip() for part in text.split(",")):
        if name not in residencies:
            return _bad(f"the header {HEADER_RESIDENCY} names an unknown jurisdiction", "use one of the catalogue's")
        allowed |= residencies[name]
    return allowed


def _workload(
    model: str | None,
    declared: WorkloadClass | None,
    prompt_tokens: int,
    max_tokens: int | None,
    stream: bool,  # noqa: FBT001  a fact of the request, not a switch
    endpoint: str,
    caller: Caller,
    policy: RouterConfig,
) -> str | Refusal:
    """The workload that a model names, or that the request looks like where the model is absent or `auto`."""
    if model in policy.workloads and (caller.workloads is None or model in caller.workloads):
        return str(model)
    allowed = [name for name in policy.workloads if caller.workloads is None or name in caller.workloads]
    if model in policy.workloads:
        pass  # not for this key
    elif model is None or model == "auto":
        wanted = declared or infer_class(prompt_tokens, max_tokens, stream=stream, endpoint=endpoint)
        fitting = [name for name in allowed if policy.workloads[name].workload_class is wanted]
        if fitting:
            return sorted(fitting)[0]
    else:
        running = [
            name
            for name in allowed
            if model == policy.workloads[name].release or model in policy.workloads[name].canary
        ]
        if declared is not None:
            running = [name for name in running if policy.workloads[name].workload_class is declared] or running
        if running:
            return sorted(running)[0]
    return _bad(
        "this key may not use the model, or there is none of that name",
        "GET /v1/models lists what this key may use",
        status=404,
        code="model_not_found",
    )


def infer_class(prompt_tokens: int, max_tokens: int | None, *, stream: bool, endpoint: str) -> WorkloadClass:
    """What a request that declares nothing looks like: somebody waits for a stream; long contexts need memory."""
    if prompt_tokens + (max_tokens or 0) > _LONG_PROMPT:
        return WorkloadClass.MEMORY_BOUND
    if stream or endpoint == "chat.completions":
        return WorkloadClass.LATENCY_SENSITIVE
    return WorkloadClass.BATCH


def _conversation(
    headers: Mapping[str, str], endpoint: str, body: dict[str, Any], caller: Caller, prompt: bytes
) -> str:
    """What keeps a conversation on its release: the caller's own id, else its user and how the conversation began.

    All of each counts: ids and first messages that begin alike (a template, a path) are conversations of their own, or
    a canary would get all of them or none. What has no messages is known by its whole prompt.
    """
    own = headers.get(HEADER_CONVERSATION)
    if own:
        return f"{caller.tenant}/{caller.project}/{_shortened(own)}"
    if endpoint == "chat.completions":
        messages = body["messages"]  # objects, see `_shape`
        first = next((m for m in messages if m.get("role") == "user"), messages[0])
        prompt = str(first.get("content")).encode(errors="surrogatepass")
    user = body.get("user")
    started = hashlib.blake2b(prompt, digest_size=8).hexdigest()
    return f"{caller.tenant}/{caller.project}/{_shortened(user) if isinstance(user, str) else ''}/{started}"


def _shortened(text: str) -> str:
    """The text, or where it is long its digest."""
    if len(text) <= _LONGEST_LABEL:
        return text
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _label(text: str | None) -> str:
    """A label that is safe in records and metrics; nothing where it is not."""
    if text is None or len(text) > _LONGEST_LABEL:
        return ""
    return text if all(c.isalnum() or c in "._-" for c in text) and text.isascii() else ""
